//! A change time is one for all names of an inode, and overlay makes all whiteouts names of one. A copy into a stopped container
//! takes one such name away: what has another one is not newer for that.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kept::{nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::small_bases;
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::stack::{Ext4, Image, Stacked};

/// A stop as its engine makes it, which mounts the overlay anew for each copy and each start.
fn stops(container: Container<'_>, bundle: &Stacked) {
    container.call("delete", &["--force"]).ok();
    bundle.unmount();
    bundle.mount();
}

fn is_device(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.mode() & 0o170_000 == 0o020_000)
}

#[test]
fn vm_a_copy_over_a_removed_file_leaves_what_only_the_snapshot_has() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for name in ["device", "removed", "again"] {
        fs::write(image.top().join("etc").join(name), "image").unwrap();
    }
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    for name in ["device", "removed", "again"] {
        fs::remove_file(top.join("etc").join(name)).unwrap();
    }
    let mode = Mode::from_raw_mode(0o600);
    let device = top.join("etc/device");
    rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, mode, 0).unwrap();
    stops(container, &bundle);
    assert_eq!(snapshots().len(), 1);
    assert!(!engine.join("etc/device").exists(), "a whiteout");

    // With no copy, and with one.
    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(is_device(&top.join("etc/device")));
    stops(container, &bundle);
    fs::write(engine.join("etc/removed"), "copied").unwrap();
    bundle.unmount();
    bundle.mount();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(is_device(&top.join("etc/device")));
    assert_eq!(fs::read_to_string(top.join("etc/removed")).unwrap(), "copied");
    assert!(!top.join("etc/again").exists());

    // A removal of now is one, beside others.
    fs::write(top.join("etc/again"), "again").unwrap();
    container.call("delete", &["--force"]).ok();
    fs::remove_file(engine.join("etc/again")).unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(!top.join("etc/again").exists() && is_device(&top.join("etc/device")));
    fs::remove_file(top.join("etc/device")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

#[test]
fn vm_a_copy_over_one_name_of_a_file_leaves_what_its_others_have() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &[], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    let large = [b'x'; 3000];
    fs::write(top.join("a"), "linked").unwrap();
    rustix::fs::setxattr(top.join("a"), "user.large", &large, XattrFlags::CREATE).unwrap();
    for name in ["b", "c"] {
        fs::hard_link(top.join("a"), top.join(name)).unwrap();
    }
    stops(container, &bundle);
    assert_eq!(snapshots().len(), 1);

    // As Docker unpacks a copy: the name goes, and a new file gets it.
    fs::remove_file(engine.join("a")).unwrap();
    fs::write(engine.join("a"), "copied").unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("a")).unwrap(), "copied");
    let mut value = [0; 4096];
    for name in ["b", "c"] {
        let read = rustix::fs::getxattr(top.join(name), "user.large", &mut value[..]);
        assert_eq!(read, Ok(large.len()), "{name}");
        assert_eq!(fs::read_to_string(top.join(name)).unwrap(), "linked");
    }
    for name in ["b", "c"] {
        fs::remove_file(top.join(name)).unwrap();
    }
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}
