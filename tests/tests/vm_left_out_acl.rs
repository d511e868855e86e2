//! A file whose ACL has no room in its engine's file system: what the ACL limits is lent to nobody.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::XattrFlags;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kept::{nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Ext4, Image};

/// `user::rwx`, `group::---`, `mask::rwx`, `other::r-x`, and no right for a hundred users (linux/posix_acl_xattr.h): the mode
/// 0775, although neither the group nor these users have a right.
fn acl() -> Vec<u8> {
    let users = (0..100).map(|user| (2, 0, 1234 + user));
    let entries = [(1, 7, u32::MAX)].into_iter().chain(users);
    let entries = entries.chain([(4, 0, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]);
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend([tag, 0, permissions, 0]);
        value.extend(u32::to_le_bytes(id));
    }
    value
}

#[test]
fn vm_a_file_without_its_acl_lends_nobody_a_right() {
    const NAMES: [&str; 4] = ["image", "new", "directory", "kept"];
    const ACL: &str = "system.posix_acl_access";
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for name in ["image", "kept"] {
        fs::write(image.top().join(name), "image").unwrap();
    }
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    // A block of 1 KiB has room for the ACL, or for the other attributes, and the inode has none.
    let _store = Ext4::below(&bundle, &["-b", "1024", "-I", "128"], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    for name in ["image", "new"] {
        fs::write(top.join(name), "container").unwrap();
    }
    fs::create_dir(top.join("directory")).unwrap();
    for name in NAMES {
        rustix::fs::setxattr(top.join(name), "user.other", &[7; 200], XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(top.join(name), ACL, &acl(), XattrFlags::empty()).unwrap();
    }
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["4 files", "set the attributes of /", "No space left", &snapshots()[0]]);
    for name in NAMES {
        let mode = fs::metadata(engine.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode & 0o7077, 0, "{name}: {mode:o}");
    }

    // The container has all of it again.
    let (container, top) = starts(&runtime, &bundle, &id);
    for name in NAMES {
        let mut value = [0_u8; 1024];
        let length = rustix::fs::getxattr(top.join(name), ACL, &mut value[..]).unwrap();
        assert_eq!(
            (&value[..length], fs::metadata(top.join(name)).unwrap().mode() & 0o7777),
            (&acl()[..], 0o775),
            "{name}"
        );
        rustix::fs::removexattr(top.join(name), ACL).unwrap();
    }
    assert_eq!(fs::read_to_string(top.join("image")).unwrap(), "container");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(fs::metadata(engine.join("new")).unwrap().mode() & 0o7777, 0o775);
}
