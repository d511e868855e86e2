//! What the entry of a hard link says of its file.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tar::{EntryType, Header};

use super::super::testing::{Tar, Unpacked, header, record};

const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The entry of a hard link with an owner, a mode and a time of its own.
fn link(name: &str, target: &str) -> Header {
    header(EntryType::Link, name, |header| {
        header.set_link_name_literal(target).unwrap();
        header.set_mode(0o4711);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1234);
    })
}

/// Docker and containerd give the file what the entry of the link says.
#[test]
fn root_the_last_entry_of_a_file_says_its_metadata() {
    let attribute = record(b"SCHILY.xattr.user.lab", b"value");
    let tar = Tar::new()
        .file("file", "content")
        .pax(&attribute)
        .header(&link("linked", "file"), b"")
        .symlink("way", "file")
        .header(&link("second", "way"), b"")
        .bytes();
    let layers = Unpacked::of(&[tar]).unwrap();
    let place = |name: &str| layers.dir.path().join("0").join(name);
    let stat = |name: &str| fs::symlink_metadata(place(name)).unwrap();
    assert_eq!(stat("file").ino(), stat("linked").ino());
    let file = stat("file");
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid(), file.mtime()), (0o4711, 7, 8, 1234));
    let mut value = [0; 5];
    rustix::fs::getxattr(place("file"), "user.lab", &mut value).unwrap();
    assert_eq!(&value, b"value");
    // Docker sets neither the mode nor the time of a link.
    let way = stat("way");
    assert_eq!((way.ino(), way.uid(), way.mtime()), (stat("second").ino(), 7, 1000));
    assert_eq!((fs::metadata(place("second")).unwrap().mtime()), 1234);
}

/// A new owner takes a capability away, as with engines, if the entry of the link does not have it, too.
#[test]
fn root_a_capability_stays_if_the_link_has_it_too() {
    let capability = record(b"SCHILY.xattr.security.capability", &CAPABILITY);
    for (of_link, expected) in [(&b""[..], false), (&capability, true)] {
        let mut tar = Tar::new().pax(&capability).file("file", "content");
        if !of_link.is_empty() {
            tar = tar.pax(of_link);
        }
        let layers = Unpacked::of(&[tar.link("linked", "file").bytes()]).unwrap();
        let mut value = [0; 20];
        let path = layers.dir.path().join("0/file");
        let found = rustix::fs::getxattr(path, "security.capability", &mut value);
        assert_eq!(found.is_ok(), expected);
    }
}

#[test]
fn root_a_link_whose_target_can_be_read_in_two_ways_is_refused() {
    let tar = |target: &str| Tar::new().file("dir/file", "").file("file", "").link("bad", target);
    for target in ["dir/../file", "/dir/../file", "../x/../file"] {
        let error = Unpacked::error(&[tar(target).bytes()]);
        assert!(error.contains("behind another name"), "{target}: {error}");
    }
    for target in ["../../file", "./file", "/./dir//file"] {
        assert!(Unpacked::of(&[tar(target).bytes()]).is_ok(), "{target}");
    }
}

/// The lower layers have the target at the place to which a link of the layer leads.
#[test]
fn root_a_target_behind_a_link_of_the_layer_is_found_below() {
    let below = Tar::new().file("real/file", "content").file("s/file", "other").bytes();
    let above = Tar::new().dir("real").symlink("s", "real").link("linked", "s/file").bytes();
    let layers = Unpacked::of(&[below, above]).unwrap();
    assert_eq!(layers.merged().read("linked"), "content");
}
