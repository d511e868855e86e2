//! `sharedroot pool`: each verb in its good case, and what an administrator reads in the bad ones.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::Value;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::documented::{check, images};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::pool::{
    CONFIG, Device, METADATA, NoPool, has, is_active, pool, refused, runs, small_bases, status,
};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// `sharedroot pool WORDS… --json`, which says how the pool is.
#[track_caller]
fn documented(words: &[&str]) -> Value {
    check("pool status", pool(&[words, &["--json"]].concat()))
}

#[test]
fn vm_status_has_the_same_keys_and_activates_nothing() {
    let no_pool = NoPool::at_first();
    let none = status();
    assert_eq!((&none["exists"], &none["active"]), (&false.into(), &false.into()));
    has(&pool(&["status"]).ok(), &["not made yet", "pool create"]);

    let made = documented(&["create", "--loop-size", "192M"]);
    assert_eq!(made["data"]["total_bytes"], 192 << 20);
    has(&pool(&["status"]).ok(), &["default (rw)", "192 MiB"]);
    pool(&["deactivate"]).ok();
    let inactive = status();
    assert_eq!((&inactive["exists"], &inactive["active"]), (&true.into(), &false.into()));
    assert_eq!(inactive["metadata_path"], METADATA);
    has(&pool(&["status"]).ok(), &["inactive", METADATA]);
    assert!(images().is_empty());
    assert!(!is_active(), "a look activates nothing");
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}

#[test]
fn vm_every_verb_says_that_there_is_no_pool() {
    let no_pool = NoPool::at_first();
    for verb in [
        &["activate"][..],
        &["deactivate"],
        &["grow"],
        &["watch"],
        &["check"],
        &["repair"],
        &["destroy", "--force"],
    ] {
        has(&refused(verb), &["no pool default", "/var/lib/sharedroot", "sharedroot pool create"]);
    }
    no_pool.again();
}

#[test]
fn vm_a_pool_is_made_once_and_destroyed_on_purpose() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    has(&refused(&["create"]), &["default", "exists already"]);

    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let asked = pool(&["destroy"]);
    assert_eq!(asked.status, 1, "{asked}");
    has(&asked.stdout, &["1 (bases of images: 1", "default.data", METADATA]);
    has(&asked.stderr, &["destroy --force"]);
    runs(&runtime, &image);

    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    has(&refused(&["destroy", "--force"]), &[&container.id, "stop and delete"]);
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    drop(container);
    has(&pool(&["destroy", "--force"]).ok(), &["default", "destroyed"]);
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_a_pool_in_use_is_not_deactivated() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for readonly in [true, false] {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        has(&refused(&["deactivate"]), &["default", &container.id, "docker stop"]);
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        drop(container);
        has(&pool(&["deactivate"]).ok(), &["default", "inactive"]);
        assert!(!is_active());
        assert!(!fs::exists("/sys/block/loop0/loop").unwrap(), "the loop devices are detached");
        // Twice does no harm, and what it says stays true.
        pool(&["deactivate"]).ok();
        has(&pool(&["activate"]).ok(), &["default", "active"]);
        assert!(is_active());
    }
    pool(&["deactivate"]).ok();
    // The next container activates it, and its base is still there. A pool that was deactivated is not checked.
    let bundle = image.bundle(&runtime, true, &["cat", "/etc/unique"]);
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("c")]).run();
    assert!(!output.stderr.contains("not deactivated"), "{output}");
    assert_eq!(output.ok(), image.name);
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_devices_are_taken_only_if_nobody_needs_them() {
    let no_pool = NoPool::at_first();
    let (data, metadata) = (Device::new("256M"), Device::new("32M"));
    let create = ["create", "--data-dev", &data.node, "--metadata-dev", &metadata.node];
    let by_force = [&create[..], &["--force"]].concat();
    out(&["mke2fs", "-q", &data.node]);
    has(&refused(&create), &[&data.node, "ext file system", "--force"]);

    let mounted = TempDir::new("mounted");
    out(&["mount", &data.node, mounted.str()]);
    for words in [&create[..], &by_force] {
        has(&refused(words), &[&data.node, "in use", "mounted"]);
    }
    out(&["umount", mounted.str()]);
    out(&["fsck.ext2", "-n", "-f", &data.node]);
    has(&refused(&["create", "--data-dev", CONFIG, "--metadata-dev", &metadata.node]), &[CONFIG]);
    let one = ["create", "--force", "--data-dev", &data.node, "--metadata-dev", &data.node];
    has(&refused(&one), &[&data.node, "two devices"]);

    let made = documented(&by_force);
    assert_eq!(made["data_path"], *data.node);
    has(&refused(&["grow", "--data", "1G"]), &["devices", "without sizes"]);
    data.enlarge("512M");
    let grown = documented(&["grow"]);
    assert_eq!(grown["data"]["total_bytes"], 512 << 20);

    // It is found again although the configuration does not name it.
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    pool(&["deactivate"]).ok();
    runs(&runtime, &image);
    pool(&["destroy", "--force"]).ok();
    drop((image, runtime, mounted));
    // What was a pool carries no sign of it.
    pool(&create).ok();
    pool(&["destroy", "--force"]).ok();
    drop((data, metadata));
    no_pool.again();
}

#[test]
fn vm_grow_makes_a_loop_pool_larger() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    let said = refused(&["grow", "--data", "100M"]);
    has(&said, &["192 MiB", "64 MiB", "do not shrink"]);
    has(&refused(&["grow", "--metadata", "1M"]), &["do not shrink"]);
    has(&refused(&["grow", "--data", "100T"]), &["default.data", "100 TiB", "free space"]);
    assert_eq!(status()["data"]["total_bytes"], 192 << 20);

    has(&pool(&["grow"]).ok(), &["288 MiB"]);
    let grown = documented(&["grow", "--data", "320M", "--metadata", "512M"]);
    let total = |part: &str| grown[part]["total_bytes"].as_u64().expect("a size");
    assert_eq!((total("data"), total("metadata")), (320 << 20, 512 << 20));
    // An inactive pool grows too: it is activated.
    pool(&["deactivate"]).ok();
    has(&pool(&["grow", "--data", "384M"]).ok(), &["384 MiB"]);
    assert_eq!(pool(&["grow", "--data", "1X"]).status, 2);
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}
