//! What the image-spec says of layers, and what hostile layers have in them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use tar::EntryType;

use super::super::lower_layers::LowerLayers;
use super::super::testing::{Tar, Unpacked, header, record};

fn unpacked(tars: &[Vec<u8>]) -> Unpacked {
    Unpacked::of(tars).unwrap()
}

#[test]
fn root_names_that_climb_or_are_absolute_stay_inside() {
    let tar = Tar::new()
        .file("../../../../escaped-of-test", "a")
        .file("/escaped/absolute", "b")
        .file("dir/../../beside", "c")
        .file("./plain", "d")
        .bytes();
    let layers = unpacked(&[tar]);
    let tree = layers.merged();
    assert_eq!(tree.names("."), ["beside", "escaped", "escaped-of-test", "plain"]);
    assert_eq!(tree.read("escaped/absolute"), "b");
}

#[test]
fn root_a_link_and_a_file_below_it_resolve_in_the_root() {
    for target in ["/outside", "../../../outside", "../outside", "/proc/self/root/outside"] {
        let tar = Tar::new().dir("outside").dir("proc/self/root/outside").symlink("way", target);
        let layers = unpacked(&[tar.file("way/file", "inside").bytes()]);
        let tree = layers.merged();
        let inside = target.trim_start_matches("../").trim_start_matches('/');
        assert_eq!(
            fs::read_to_string(layers.dir.path().join("0").join(inside).join("file")).unwrap(),
            "inside"
        );
        assert_eq!(fs::read_link(tree.path("way")).unwrap().to_str(), Some(target));
    }
    // To a place that is not there: nothing is guessed.
    let error =
        Unpacked::error(&[Tar::new().symlink("way", "/nowhere").file("way/file", "x").bytes()]);
    assert!(error.contains("\"way/file\""), "{error}");
    // The last component is replaced, and not followed.
    let layers =
        unpacked(&[Tar::new().symlink("way", "/outside/sentinel").file("way", "mine").bytes()]);
    assert_eq!(layers.merged().read("way"), "mine");
}

#[test]
fn root_a_link_of_a_layer_below_is_replaced_as_docker_replaces_it() {
    let below = Tar::new().dir("usr").symlink("lib", "usr").bytes();
    let layers = unpacked(&[below, Tar::new().file("lib/file", "x").bytes()]);
    let tree = layers.merged();
    assert!(fs::symlink_metadata(tree.path("lib")).unwrap().is_dir());
    assert!(tree.names("usr").is_empty());
}

#[test]
fn root_hard_links_stay_inside_and_cross_layers() {
    let below = Tar::new().file("one", "content").dir("dir").bytes();
    let above = Tar::new().link("two", "/one").link("dir/three", "../../one").link("two", "two");
    let layers = unpacked(&[below.clone(), above.bytes()]);
    let tree = layers.merged();
    let inode = |name| fs::symlink_metadata(tree.path(name)).unwrap().ino();
    assert_eq!((inode("one"), inode("one")), (inode("two"), inode("dir/three")));
    assert_eq!(tree.read("dir/three"), "content");

    for (target, words) in [
        ("outside/sentinel", "no layer up to here has"),
        ("../outside/sentinel", "no layer up to here has"),
        ("/etc/passwd", "no layer up to here has"),
        ("/", "no layer up to here has"),
        ("dir", "a hard link to a directory"),
    ] {
        let error = Unpacked::error(&[below.clone(), Tar::new().link("bad", target).bytes()]);
        assert!(error.contains(words) && error.contains("\"bad\""), "{target}: {error}");
    }
    // A file that is whited out is gone for links, too, and one behind a link of the image stays behind it.
    let gone = Tar::new().file(".wh.one", "").link("two", "one").bytes();
    assert!(Unpacked::error(&[below.clone(), gone]).contains("no layer"));
    let hidden = Tar::new().dir("dir").file("dir/.wh..wh..opq", "").link("two", "dir/x").bytes();
    assert!(Unpacked::error(&[Tar::new().file("dir/x", "").bytes(), hidden]).contains("no layer"));
    // A link to a link is the link.
    let tar = Tar::new().symlink("way", "/outside/sentinel").link("second", "way").bytes();
    assert!(fs::symlink_metadata(unpacked(&[tar]).merged().path("second")).unwrap().is_symlink());
}

#[test]
fn root_the_last_entry_of_a_name_wins() {
    let tar = Tar::new()
        .file("a", "first")
        .link("linked", "a")
        .file("a", "second")
        .file("b/c", "below")
        .file("b", "a file now")
        .symlink("d", "/outside")
        .dir("d")
        .file("d/x", "in the directory")
        .bytes();
    let layers = unpacked(&[tar]);
    let tree = layers.merged();
    assert_eq!((tree.read("a"), tree.read("linked")), ("second".into(), "first".into()));
    assert_eq!(
        (tree.read("b"), tree.read("d/x")),
        ("a file now".into(), "in the directory".into())
    );
    // What is below a file is nowhere.
    let error = Unpacked::error(&[Tar::new().file("a", "").file("a/b", "").bytes()]);
    assert!(error.contains("\"a/b\""), "{error}");
}

#[test]
fn root_names_of_any_bytes_and_255_of_them() {
    let long = [b'n'; 255];
    let odd = b"not utf-8: \xff\xfe \n '\"";
    let deep = [&long[..], odd].join(&b'/');
    let tar = Tar::new().raw(EntryType::Regular, &deep, b"", b"here");
    let layers = unpacked(&[tar.raw(EntryType::Symlink, b"link", &deep, b"").bytes()]);
    let tree = layers.merged();
    assert_eq!(tree.read(OsStr::from_bytes(&deep)), "here");
    assert_eq!(fs::read_link(tree.path("link")).unwrap().as_os_str().as_bytes(), deep);
    let error =
        Unpacked::error(&[Tar::new().raw(EntryType::Regular, &[b'n'; 256], b"", b"").bytes()]);
    assert!(error.contains("nnnn"), "{error}");
    let nul = Tar::new().pax(&record(b"path", b"a\0b")).file("a", "").bytes();
    assert!(Unpacked::error(&[nul]).contains("malformed"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn root_devices_fifos_owners_modes_times_and_attributes() {
    let device = |kind, name: &str, minor| {
        header(kind, name, |header| {
            header.set_mode(0o4711);
            header.set_uid(7);
            header.set_gid(8);
            header.set_mtime(1234);
            header.set_device_major(u32::from(kind == EntryType::Char)).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0];
    let records = [
        record(b"mtime", b"77.25"),
        record(b"uid", b"4000000"),
        record(b"SCHILY.xattr.user.lab\n", b"a\nvalue"),
        record(b"SCHILY.xattr.security.capability", &capability),
        record(b"SCHILY.xattr.trusted.overlay.origin", b"x"),
        record(b"SCHILY.xattr.user.overlay.opaque", b"y"),
        record(b"SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0"),
    ];
    let tar = Tar::new()
        .header(&device(EntryType::Char, "char", 3), b"")
        .header(&device(EntryType::Block, "block", 9), b"")
        .header(&device(EntryType::Fifo, "fifo", 0), b"")
        .pax(&records.concat())
        .file("file", "content")
        .pax(&record(b"mtime", b"77.5"))
        .dir("dir")
        .file("dir/later", "changes the directory's time")
        .bytes();
    let layers = unpacked(&[tar]);
    let tree = layers.merged();
    let stat = |name: &str| fs::symlink_metadata(tree.path(name)).unwrap();
    assert!(
        stat("char").file_type().is_char_device()
            && stat("char").rdev() == rustix::fs::makedev(1, 3)
    );
    assert!(
        stat("block").file_type().is_block_device()
            && stat("block").rdev() == rustix::fs::makedev(0, 9)
    );
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!(
        (stat("fifo").mode() & 0o7777, stat("fifo").uid(), stat("fifo").gid()),
        (0o4711, 7, 8)
    );
    assert_eq!(stat("fifo").mtime(), 1234);
    assert_eq!((stat("file").mtime(), stat("file").mtime_nsec()), (77, 250_000_000));
    assert_eq!(stat("file").uid(), 4_000_000);
    assert_eq!((stat("dir").mtime(), stat("dir").mtime_nsec()), (77, 500_000_000));
    let attribute = |name: &str| {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(layers.dir.path().join("0/file"), name, &mut value);
        length.map(|length| value[..length].to_vec()).ok()
    };
    assert_eq!(attribute("user.lab\n"), Some(b"a\nvalue".to_vec()));
    assert_eq!(attribute("security.capability"), Some(capability.to_vec()));
    assert_eq!(attribute("trusted.overlay.origin"), None);
    assert_eq!(attribute("user.overlay.opaque"), Some(b"y".to_vec()));
    assert_ne!(
        attribute("security.selinux").as_deref(),
        Some(&b"system_u:object_r:shadow_t:s0"[..])
    );
    assert_eq!(tree.names("dir"), ["later"]);
}

/// Docker's overlay would show other files than the layer has. Nothing may depend on who unpacks it.
#[test]
fn root_commands_to_overlay_are_refused() {
    for name in ["opaque", "redirect", "metacopy", "whiteout", "whiteouts"] {
        let records = record(format!("SCHILY.xattr.trusted.overlay.{name}").as_bytes(), b"y");
        for tar in
            [Tar::new().pax(&records).dir("entry"), Tar::new().pax(&records).file("entry", "")]
        {
            let error = Unpacked::error(&[tar.bytes()]);
            assert!(error.contains("a command to overlay") && error.contains(name), "{error}");
        }
    }
}

/// Go's programs set the epoch for a time before the epoch, or one that has no nanoseconds in 64 bits; Docker not of a link.
#[test]
fn root_times_are_those_that_an_engine_sets() {
    let (end, beyond) = (b"9223372036.854775807", b"9223372036.854775808");
    let at = |tar: Tar, time: &[u8]| tar.pax(&record(b"mtime", time));
    let tar = at(Tar::new(), b"-1.25").file("file", "");
    let tar = at(at(tar, b"-1").dir("dir"), b"-1").link("linked", "file");
    let tar = at(at(tar, end).file("last", ""), beyond).file("beyond", "");
    let layers = unpacked(&[at(tar, b"-1.25").symlink("link", "file").bytes()]);
    let time = |name: &str| {
        let stat = fs::symlink_metadata(layers.dir.path().join("0").join(name)).unwrap();
        (stat.mtime(), stat.mtime_nsec())
    };
    for name in ["file", "linked", "dir", "beyond"] {
        assert_eq!(time(name), (0, 0), "{name}");
    }
    assert_eq!((time("last"), time("link")), ((9_223_372_036, 854_775_807), (-2, 750_000_000)));
}

/// The mode is set when the attributes are: it cuts the rights that an ACL gives.
#[test]
fn root_a_mode_cuts_the_rights_of_an_acl() {
    // User 5 may read, write and execute; the group may read.
    let acl = |mask: u16| {
        let entries = [
            (1, 6, u32::MAX),
            (2, 7, 5),
            (4, 4, u32::MAX),
            (16, mask, u32::MAX),
            (32, 4, u32::MAX),
        ];
        let entry = |(tag, rights, id): (u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [&2_u32.to_le_bytes()[..], &entries.map(entry).concat()].concat()
    };
    let records = record(b"SCHILY.xattr.system.posix_acl_access", &acl(7));
    for tar in [Tar::new().pax(&records).file("entry", ""), Tar::new().pax(&records).dir("entry")] {
        let layers = unpacked(&[tar.bytes()]);
        let path = layers.dir.path().join("0/entry");
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        assert!(mode == 0o644 || mode == 0o755, "{mode:o}");
        let mut found = [0; 100];
        rustix::fs::getxattr(&path, "system.posix_acl_access", &mut found).unwrap();
        let mask = if mode == 0o644 { 4 } else { 5 };
        assert_eq!(found[28..32], acl(mask)[28..32], "the rights of the mask");
    }
}

#[test]
fn root_a_directory_without_a_header_is_the_one_below() {
    let directory = |name: &str| {
        header(EntryType::Directory, name, |header| {
            header.set_mode(0o2750);
            header.set_uid(5);
            header.set_gid(6);
            header.set_mtime(55);
        })
    };
    let below = Tar::new().header(&directory("dir"), b"").file("dir/a", "").bytes();
    let layers = unpacked(&[below, Tar::new().file("dir/b", "").file("new/c", "").bytes()]);
    let tree = layers.merged();
    let stat = fs::symlink_metadata(tree.path("dir")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime()), (0o2750, 5, 6, 55));
    let stat = fs::symlink_metadata(tree.path("new")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.mtime()), (0o755, 0, 1));
    assert_eq!(tree.names("dir"), ["a", "b"]);
    // Also by way of a link of the layer: the one below is where the link leads.
    let below = Tar::new().header(&directory("real/dir"), b"").file("s/dir/x", "").bytes();
    let above = Tar::new().dir("real").symlink("s", "real").file("s/dir/b", "").bytes();
    let layers = unpacked(&[below, above]);
    let stat = fs::symlink_metadata(layers.dir.path().join("1/real/dir")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime()), (0o2750, 5, 6, 55));
}

#[test]
fn root_a_directory_of_100_000_names_and_too_many_levels() {
    let mut tar = Tar::new();
    for n in 0..100_000 {
        tar = tar.raw(EntryType::Regular, format!("many/{n}").as_bytes(), b"", b"");
    }
    assert_eq!(
        fs::read_dir(unpacked(&[tar.bytes()]).merged().path("many")).unwrap().count(),
        100_000
    );
    let deep = "d/".repeat(499);
    assert!(unpacked(&[Tar::new().dir(&deep).bytes()]).merged().has(&deep));
    let error = Unpacked::error(&[Tar::new().dir(&"d/".repeat(600)).bytes()]);
    assert!(error.contains("nested deeper than 500"), "{}", &error[error.len() - 60..]);
    // Nor step by step, by links.
    let steps = Tar::new()
        .dir(&"d/".repeat(400))
        .symlink("s", &"d/".repeat(400))
        .dir(&format!("s/{}", "e/".repeat(200)));
    assert!(Unpacked::error(&[steps.bytes()]).contains("nested deeper than 500"));
}

#[test]
fn root_the_attributes_and_extents_of_all_layers_have_a_bound() {
    let attributes = |tar: Tar| {
        let records = ["user.a", "user.b"]
            .map(|name| record(format!("SCHILY.xattr.{name}").as_bytes(), b"value"));
        tar.pax(&records.concat())
    };
    let sparse = |tar: Tar, name: &str| {
        let map = [record(b"GNU.sparse.map", b"0,4,8192,4"), record(b"GNU.sparse.numblocks", b"2")];
        let size = record(b"GNU.sparse.size", b"8196");
        tar.pax(&[map.concat(), size].concat()).file(name, "datadata")
    };
    // Two attributes of a file, two of a directory, and the same two where the second layer needs the directory.
    let below = attributes(attributes(Tar::new()).file("file", "")).dir("dir");
    let tars = [sparse(below, "sparse").bytes(), sparse(Tar::new(), "dir/sparse").bytes()];
    let within = |attributes, extents| {
        let mut below = LowerLayers::default();
        (below.allowance.attributes.most, below.allowance.extents.most) = (attributes, extents);
        Unpacked::within(&tars, below).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(within(6, 4), Ok(()));
    for (attributes, extents, words) in [
        (5, 4, "has attributes beyond the 5 that all layers may have"),
        (3, 4, "\"dir\" has attributes beyond the 3"),
        (6, 3, "has extents of sparse files beyond the 3 that all layers may have"),
    ] {
        let error = within(attributes, extents).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
