//! Leases: who uses a base is asked of the base, not of every container.
//!
//! Guest: --limit 600 --takes 40 --shim long

use std::fs;
use std::path::{Path, PathBuf};

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out, run};
use sharedroot_tests::docker::{Container, FreshImage};
use sharedroot_tests::lab::{RUN_DIR, TempDir};
use sharedroot_tests::shim;

/// The files of all leases.
fn leases() -> Vec<PathBuf> {
    let dir = Path::new(RUN_DIR).join("lease");
    let found = run(&["find", dir.to_str().unwrap(), "-type", "f"]);
    found.stdout.lines().map(PathBuf::from).collect()
}

/// The base and the use of each lease of a container.
fn of(container: &Container) -> Vec<(String, String)> {
    let its = |path: &&PathBuf| fs::read_to_string(path).is_ok_and(|name| name == container.id);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let parts = |path: PathBuf| {
        let what = path.parent().unwrap();
        (name(what.parent().unwrap()), name(what))
    };
    leases().iter().filter(its).cloned().map(parts).collect()
}

fn container(image: &str, flags: &[&str]) -> Container {
    Container::run(&[flags, &[image, "sleep", "1000"]].concat())
}

#[test]
fn vm_a_container_has_one_lease_of_what_it_uses() {
    let (image, volume) = (FreshImage::new(), TempDir::new("volume"));
    drop(container(image.name(), &["--read-only"]));
    let before = Census::take();
    let lacking = format!("--volume={}:/not/in/the/image:z", volume.str());
    for flags in [&["--read-only"][..], &["--read-only", &lacking], &[]] {
        let container = container(image.name(), flags);
        let rootfs = container.record()["rootfs"].clone();
        let base = rootfs["base"].as_str().unwrap().to_owned();
        let what = match (rootfs["kind"].as_str().unwrap(), rootfs["scaffold"].as_str()) {
            ("shared", Some(scaffold)) => scaffold.to_owned(),
            (kind, _) => kind.to_owned(),
        };
        assert_eq!(of(&container), [(base.clone(), what)], "{flags:?}");
        let refused = run(&["sharedroot", "image", "rm", &base]);
        assert!(refused.status != 0 && refused.stderr.contains(&container.id), "{refused}");
    }
    before.nothing_left();
    assert!(leases().is_empty(), "{:?}", leases());
}

#[test]
fn vm_delete_reads_no_other_containers_record() {
    let (image, volume) = (FreshImage::new(), TempDir::new("volume"));
    let lacking = format!("--volume={}:/not/in/the/image:z", volume.str());
    let flags = ["--read-only", &lacking];
    let [stays, goes] = [container(image.name(), &flags), container(image.name(), &flags)];
    let record = |container: &Container| format!("/{}/record.json", container.id);
    let root = out(&["find", &format!("{RUN_DIR}/containers"), "-name", &goes.id]);
    assert!(!root.is_empty(), "the container has a record");
    // Docker names a place of its own to no shim but containerd's.
    let states = match shim::is_meant() {
        true => "/run/containerd/runc/moby",
        false => "/run/docker/runtime-runc/moby",
    };
    let log = volume.0.join("strace");
    Cmd::new("strace")
        .args(&["-f", "-qq", "-o", log.to_str().unwrap(), "/usr/local/bin/sharedroot"])
        .args(&["--root", states, "delete", "--force", &goes.id])
        .run()
        .ok();
    let trace = fs::read_to_string(log).unwrap();
    assert!(trace.contains(&record(&goes)), "the trace is of its `delete`:\n{trace}");
    assert!(!trace.contains(&record(&stays)), "{trace}");
    assert_eq!((of(&stays).len(), of(&goes).len()), (1, 0));
}

#[test]
fn vm_a_version_without_leases_left_running_containers() {
    let image = FreshImage::new();
    drop(container(image.name(), &["--read-only"]));
    let before = Census::take();
    for flags in [&["--read-only"][..], &[]] {
        let container = container(image.name(), flags);
        let its = of(&container);
        fs::remove_dir_all(Path::new(RUN_DIR).join("lease")).unwrap();
        let base = &its[0].0;
        let refused = run(&["sharedroot", "image", "rm", base]);
        assert!(refused.status != 0 && refused.stderr.contains(&container.id), "{refused}");
        assert_eq!(of(&container), its);
        container.exec(&["true"]);
    }
    before.nothing_left();
}
