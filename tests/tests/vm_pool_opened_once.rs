//! A command opens the pool once at most, and not at all where it needs none: seen by its system calls.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::Value;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::documented;
use sharedroot_tests::kept::{end, go_down, nothing_is_kept};
use sharedroot_tests::lab::{STATE_DIR, TempDir, only_in_lab};
use sharedroot_tests::pool::{runs, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Image, Stacked};

/// How often a command opens the store of the pool. Each connection of SQLite opens the log of the store once
/// (<https://www.sqlite.org/wal.html>).
#[track_caller]
fn opens(words: &[&str]) -> usize {
    let dir = TempDir::new("opens");
    let log = dir.0.join("strace");
    // Without the children: the container's process would keep strace.
    let traced = ["-qq", "-e", "trace=openat", "-o", log.to_str().expect("ASCII")];
    Cmd::new("strace").args(&traced).arg("/usr/local/bin/sharedroot").args(words).run().ok();
    let trace = fs::read_to_string(&log).expect("read strace's log");
    assert!(trace.contains("openat("), "nothing was traced");
    let of_store = format!("\"{STATE_DIR}/store.db-wal\"");
    trace.lines().filter(|line| line.contains(&of_store)).count()
}

#[track_caller]
fn of_container(runtime: &Runtime, words: &[&str]) -> usize {
    opens(&[&["--root", runtime.root()], words].concat())
}

#[track_caller]
fn create(runtime: &Runtime, bundle: &Stacked, id: &str) -> usize {
    of_container(runtime, &["create", "--bundle", bundle.str(), id])
}

#[test]
fn vm_each_command_of_a_container_opens_the_pool_once_at_most() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    // The pool is made.
    runs(&runtime, &Image::new());

    // The first makes and mounts the base; the second finds it mounted.
    let [one, two, three] = ["one", "two", "three"].map(unique_name);
    let readonly = [(); 2].map(|()| image.bundle(&runtime, true, &["sleep", "1000"]));
    assert_eq!(create(&runtime, &readonly[0], &one), 1, "a base is made");
    assert_eq!(create(&runtime, &readonly[1], &two), 0, "a base is mounted");
    for id in [&one, &two] {
        assert_eq!(of_container(&runtime, &["delete", "--force", id]), 0, "a base has no user");
    }

    let writable = image.bundle(&runtime, false, &["sleep", "1000"]);
    assert_eq!(create(&runtime, &writable, &three), 1, "a snapshot is taken");
    assert_eq!(of_container(&runtime, &["start", &three]), 0);
    let container = runtime.container(three.clone());
    container.exec(&[], &["sh", "-c", "echo changed > /etc/unique"]).ok();
    assert_eq!(of_container(&runtime, &["pause", &three]), 1, "changes are written back");
    assert_eq!(of_container(&runtime, &["resume", &three]), 0);
    end(&container);
    assert_eq!(of_container(&runtime, &["delete", &three]), 1, "a snapshot is deleted");

    // What a host that went down left is written back first, and then there is a new snapshot.
    go_down(&runtime, &writable, &three, "kept");
    writable.mount();
    assert_eq!(create(&runtime, &writable, &three), 1, "a snapshot is written back, one is taken");
    assert_eq!(of_container(&runtime, &["delete", "--force", &three]), 1);
    nothing_is_kept();
}

#[test]
fn vm_each_command_of_an_administrator_opens_the_pool_once() {
    only_in_lab();
    let _config = small_bases();
    let runtime = Runtime::sharedroot();
    let [image, gone] = [(); 2].map(|()| Image::new());
    runs(&runtime, &image);
    let key = key_of(&image);
    runs(&runtime, &gone);
    drop(gone);
    let dir = TempDir::new("import");
    sharedroot_tests::bundle::make_rootfs(&dir.0);

    for words in [
        &["status"][..],
        &["top", "--once"],
        &["metrics"],
        &["pool", "status"],
        &["pool", "inspect"],
        &["image", "list"],
        &["image", "inspect", &key],
        &["image", "import", dir.str(), "imported"],
        &["image", "verify", "imported"],
        &["image", "export", "--output", "/dev/null", &key],
        &["gc", "--dry-run"],
        &["image", "rm", &key],
        &["image", "rm", "imported"],
    ] {
        assert_eq!(opens(words), 1, "{words:?}");
    }
    // A base is deleted.
    assert!(out(&["sharedroot", "gc", "--dry-run"]).contains("its image is gone"));
    assert_eq!(opens(&["gc"]), 1, "gc");
    assert!(!out(&["sharedroot", "gc", "--dry-run"]).contains("its image is gone"));
    // Nor does it take more to activate it.
    for words in
        [&["pool", "deactivate"][..], &["pool", "activate"], &["pool", "deactivate"], &["gc"]]
    {
        assert_eq!(opens(words), 1, "{words:?}");
    }
}

/// The key of the base of an image that ran.
#[track_caller]
fn key_of(image: &Image) -> String {
    let layer = image.top().to_str().expect("ASCII").to_owned();
    let keys: Vec<_> = documented::images().iter().map(|base| base["key"].clone()).collect();
    let inspected = |key: &Value| {
        let words = ["image", "inspect", key.as_str().expect("a key")];
        documented::check("image inspect", Cmd::new("sharedroot").args(&words).run())
    };
    let is_its = |key: &&Value| inspected(key)["source"].to_string().contains(&layer);
    let key = keys.iter().find(is_its).unwrap_or_else(|| panic!("none of {keys:?}"));
    key.as_str().expect("a key").to_owned()
}
