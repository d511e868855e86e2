//! containerd with the snapshotter: images are unpacked, run with runc and with sharedroot, and removed, and nothing is left. A
//! snapshotter that is killed between two calls loses nothing.
//!
//! Guest: --with snapshotter --limit 1200 --takes 120 --unstable plain

use std::fs;

use sharedroot_tests::census::{Census, pools, thin_ids};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::shim::ctr;
use sharedroot_tests::snapshotter::{
    Containerd, IMAGE, Snapshotter, collect, import, list, snapshots,
};

/// How ctr calls runc and sharedroot.
const RUNTIMES: [&str; 2] = ["/usr/bin/runc", "/usr/local/bin/sharedroot"];
/// All files of the image with their attributes, and the digest of their content.
const TREE: &str = "cd /; tops=$(ls -d bin etc home lib opt root sbin usr var);
    { find $tops -exec stat -c '%n %f %u %g %Y %t %T' {} +; find $tops -type f -exec md5sum {} +; } | sort | md5sum";

/// What a command prints in a container. It prints into a file of the test's, because `ctr run` loses the end of the output of a
/// container now and then, with any runtime and any snapshotter.
#[track_caller]
fn said(snapshotter: &str, runtime: &str, flags: &[&str], command: &str) -> String {
    let (name, dir) = (unique_name("s"), TempDir::new("said"));
    let mount = format!("type=bind,src={},dst=/mnt,options=rbind:rw", dir.str());
    let run = ["run", "--rm", "--snapshotter", snapshotter, "--runc-binary", runtime];
    let command = format!("({command}) > /mnt/said");
    let container = ["--mount", &mount, IMAGE, &name, "sh", "-c", &command];
    ctr(&[&run[..], flags, &container].concat()).ok();
    fs::read_to_string(dir.0.join("said")).expect("read what it said").trim_end().to_owned()
}

/// The thin ids of the pool, and the devices of layers.
fn volumes() -> (usize, Vec<String>) {
    let devices = out(&["dmsetup", "ls"]);
    let layers = devices.lines().filter(|line| line.contains("-layer-")).map(str::to_owned);
    (thin_ids(&pools()[0]).len(), layers.collect())
}

/// Waits until only the empty file system is in the pool.
#[track_caller]
fn nothing_is_left() {
    wait_for("the volumes are deleted", || {
        (list().is_empty() && volumes() == (1, vec![])).then_some(())
    });
}

#[test]
fn vm_an_image_is_unpacked_run_and_removed() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let mounts = Census::take().of("mount");
    import("overlayfs");
    import("sharedroot");
    let layers = list();
    assert!(layers.len() > 1 && layers.iter().all(|(_, kind)| kind == "Committed"), "{layers:?}");
    wait_for("layers are inactive", || volumes().1.is_empty().then_some(()));

    let theirs = said("overlayfs", RUNTIMES[0], &[], TREE);
    for runtime in RUNTIMES {
        for flags in [&[][..], &["--read-only"]] {
            assert_eq!(said("sharedroot", runtime, flags, TREE), theirs, "{runtime} {flags:?}");
        }
        let root = said(
            "sharedroot",
            runtime,
            &[],
            "head -1 /proc/self/mountinfo; echo x > /new; cat /new",
        );
        assert!(root.contains("- ext4 /dev/dm-") && root.ends_with('x'), "{root}");
        assert!(root.contains(" rw"), "{root}");
        let refused =
            said("sharedroot", runtime, &["--read-only"], "echo x > /new || echo refused");
        assert_eq!(refused, "refused");
    }
    assert_eq!(list(), layers, "containers that are removed leave no snapshot");
    let usage = snapshots(&["usage"]).ok();
    assert!(usage.lines().skip(1).any(|line| line.contains("MiB")), "{usage}");

    ctr(&["image", "rm", "--sync", IMAGE]).ok();
    nothing_is_left();
    assert_eq!(Census::take().of("mount"), mounts);
}

/// Mounts a snapshot as `ctr snapshots mounts` says, does something there, and unmounts it.
#[track_caller]
fn mounted(key: &str, act: impl FnOnce(&std::path::Path)) {
    let dir = TempDir::new("mount");
    let command = snapshots(&["mounts", dir.str(), key]).ok();
    out(&["sh", "-c", &command]);
    act(&dir.0);
    out(&["umount", dir.str()]);
}

#[test]
fn vm_a_snapshotter_that_is_killed_goes_on() {
    let mut snapshotter = Snapshotter::start();
    let _containerd = Containerd::with_snapshotter();
    snapshots(&["prepare", "key"]).ok();
    snapshotter.kill_and_start();
    mounted("key", |dir| fs::write(dir.join("one"), "1").expect("write a file"));
    snapshotter.kill_and_start();
    snapshots(&["commit", "name", "key"]).ok();
    snapshotter.kill_and_start();
    assert_eq!(list(), [("name".to_owned(), "Committed".to_owned())]);

    snapshots(&["prepare", "next", "name"]).ok();
    snapshots(&["view", "view", "name"]).ok();
    snapshotter.kill_and_start();
    mounted("next", |dir| {
        assert_eq!(fs::read_to_string(dir.join("one")).expect("read a file"), "1");
        fs::write(dir.join("two"), "2").expect("write a file");
    });
    mounted("view", |dir| {
        assert_eq!(fs::read_to_string(dir.join("one")).expect("read a file"), "1");
        assert!(!dir.join("two").exists());
        let refused = fs::write(dir.join("three"), "3").expect_err("a view is read-only");
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    });
    assert!(snapshots(&["rm", "name"]).stderr.contains("remove"), "it has children");
    for key in ["view", "next", "name"] {
        snapshots(&["rm", key]).ok();
        collect();
        snapshotter.kill_and_start();
    }
    nothing_is_left();
}
