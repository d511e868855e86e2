//! Removed snapshots that somebody still uses, by a descriptor of the root: their errors do not panic the host, and they do not
//! add up.
//!
//! Guest: --with snapshotter --limit 900 --takes 150

use std::fs::{self, File};

use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::panic::{choose_panic, nothing_can_be_read};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::snapshotter::{Containerd, Snapshotter, collect, list, snapshots};

/// The bound of the pool (docs/limits.md).
const MOST: usize = 64;

/// The devices of deleted volumes.
fn devices() -> usize {
    out(&["dmsetup", "ls"]).lines().filter(|line| line.contains("-deleted.")).count()
}

/// A snapshot that is written, mounted anew with these options besides its own and unmounted, and a descriptor of its top. The
/// kernel has read nothing of the directories since.
#[track_caller]
fn left_open(key: &str, more: &str) -> File {
    let dir = TempDir::new("mount");
    let command = snapshots(&["mounts", dir.str(), key]).ok();
    out(&["sh", "-c", &command]);
    fs::create_dir(dir.0.join("d")).expect("a directory");
    fs::write(dir.0.join("d/file"), vec![b'f'; 1 << 20]).expect("a file");
    out(&["umount", dir.str()]);
    out(&["sh", "-c", &command]);
    out(&["mount", "-o", &format!("remount{more}"), dir.str()]);
    let top = File::open(&dir.0).expect("a descriptor");
    out(&["umount", "--lazy", dir.str()]);
    top
}

/// Removes snapshots, and waits until their devices are left alone.
#[track_caller]
fn remove(keys: &[String], left: usize) {
    for key in keys {
        snapshots(&["rm", key]).ok();
    }
    collect();
    wait_for("the volumes are deleted", || (devices() == left).then_some(()));
}

#[test]
fn vm_the_errors_of_a_removed_snapshot_do_not_panic_the_host() {
    let _config = small_bases();
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    // Also a file system that is read-only by now.
    for more in [",errors=panic", ",errors=panic,ro"] {
        let key = unique_name("key");
        snapshots(&["prepare", &key]).ok();
        let top = left_open(&key, more);
        remove(&[key], 1);
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop the caches");
        // Before the first error, which could end the file system.
        println!("the choice is taken once more: {}", choose_panic(&top));
        nothing_can_be_read(&top, "d/file");
        drop(top);
        wait_for("the device is gone", || (devices() == 0).then_some(()));
    }
}

#[test]
fn vm_removed_snapshots_that_are_in_use_have_a_bound() {
    let _config = small_bases();
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let keys: Vec<_> = (0..MOST + 6).map(|_| unique_name("key")).collect();
    let mut held = Vec::new();
    for key in &keys[..MOST] {
        snapshots(&["prepare", key]).ok();
        held.push(left_open(key, ""));
    }
    remove(&keys[..MOST], MOST);
    for key in &keys[MOST..] {
        let refused = snapshots(&["prepare", key]);
        assert_ne!(refused.status, 0, "{refused}");
        let holder = format!("(pid {}) holding it open", std::process::id());
        has(&refused.stderr, &["64 removed snapshots are still in use", &holder]);
    }
    assert_eq!(list(), [], "a refused snapshot is not there");
    // No container runs where an image is unpacked.
    snapshots(&["prepare", "extract-1"]).ok();
    snapshots(&["rm", "extract-1"]).ok();

    held.remove(0);
    wait_for("a device is gone", || (devices() == MOST - 1).then_some(()));
    wait_for("there is room for one", || {
        (snapshots(&["prepare", &keys[MOST]]).status == 0).then_some(())
    });
    remove(&keys[MOST..=MOST], MOST - 1);
    drop(held);
    wait_for("the devices are gone", || (devices() == 0).then_some(()));
    println!("{}", run(&["dmesg"]).stdout.lines().rev().take(3).collect::<Vec<_>>().join("\n"));
}
