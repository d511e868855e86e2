use std::fs::{self, File, Permissions};
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::{FileType, MemfdFlags, XattrFlags, lsetxattr, memfd_create};

use super::super::testing::{TestDir, need_root};
use super::*;

fn digest(path: &Path) -> Digest {
    tree_digest(File::open(path).unwrap().as_fd(), |_| ()).unwrap()
}

fn tree(at: &Path) {
    fs::create_dir_all(at.join("dir")).unwrap();
    fs::write(at.join("dir/file"), "content").unwrap();
    fs::hard_link(at.join("dir/file"), at.join("second")).unwrap();
    symlink("dir/file", at.join("link")).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    let touch = "find \"$1\" -depth -exec touch -h -d @1000 {} +";
    assert!(Command::new("sh").args(["-c", touch, "sh"]).arg(at).status().unwrap().success());
}

#[test]
fn root_every_change_that_a_container_could_see_changes_the_digest() {
    need_root();
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    tree(&one);
    let expected = digest(&one);
    // A second tree of the same files, with other inode numbers, has the same digest.
    tree(&two);
    assert_eq!(digest(&two), expected);

    let shell = |script: &str| {
        let path = dir.dir("changed");
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        tree(&path);
        let run = Command::new("sh").args(["-euc", script]).current_dir(&path).status().unwrap();
        assert!(run.success(), "{script}");
        digest(&path)
    };
    assert_eq!(shell("true"), expected);
    assert_eq!(shell("touch -d @1000.25 empty"), expected, "parts of a second are no layer's");
    for change in [
        "mv empty full; touch -d @1000 full",
        "chmod 600 empty",
        "chown 1 empty",
        "chgrp 1 dir",
        "touch -d @1001 empty",
        "touch -h -d @1001 link",
        "touch -d @1001 dir",
        "printf x > empty; touch -d @1000 empty",
        "printf Content > dir/file; touch -d @1000 dir/file",
        "ln -sfn dir/other link; touch -h -d @1000 link",
        "cp -p second third; mv third second; touch -d @1000 second",
        "setfattr -n user.a -v b empty || python3 -c 'import os; os.setxattr(\"empty\", \"user.a\", b\"b\")'",
        "rm empty; mknod empty c 1 3; chmod 644 empty; touch -d @1000 empty",
        "rm empty; mkfifo -m 644 empty; touch -d @1000 empty",
        "rm empty; mkdir empty; touch -d @1000 empty",
        "rm empty",
    ] {
        assert_ne!(shell(change), expected, "{change}");
    }
}

#[test]
fn root_where_one_file_ends_and_the_next_begins_counts() {
    need_root();
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    for (at, a, b) in [(&one, "xy", ""), (&two, "x", "y")] {
        for (name, text) in [("a", a), ("b", b)] {
            fs::write(at.join(name), text).unwrap();
            fs::set_permissions(at.join(name), Permissions::from_mode(0o644)).unwrap();
            let when = ["-d", "@1000"];
            assert!(
                Command::new("touch").args(when).arg(at.join(name)).status().unwrap().success()
            );
        }
    }
    assert_ne!(digest(&one), digest(&two));
}

/// The name of a link's attribute, and its target, which says what `stat` says of another file: without the number of
/// attributes, the records of the one tree read as those of the other.
#[test]
fn root_the_attributes_of_a_link_and_its_target_are_told_apart() {
    need_root();
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    let attribute = |path: &Path, name: &str, value: &str| {
        lsetxattr(path, name, value.as_bytes(), XattrFlags::CREATE).unwrap();
    };
    symlink("104755 0 0 1000 0", one.join("a")).unwrap();
    attribute(&one.join("a"), "trusted.k", "b");
    symlink("trusted.k", two.join("a")).unwrap();
    for (path, mode) in [(one.join("user.x"), 0o644), (two.join("b"), 0o4755)] {
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    attribute(&two.join("b"), "user.x", "100644 0 0 1000 0");
    for tree in [&one, &two] {
        let touch = "find \"$1\" -depth -exec touch -h -d @1000 {} +";
        let run = Command::new("sh").args(["-c", touch, "sh"]).arg(tree).status().unwrap();
        assert!(run.success());
    }
    assert_ne!(digest(&one), digest(&two));
}

/// In a base each name of a symbolic link is a link of its own (see `count`), so `image verify` would find another tree.
#[test]
fn names_of_one_symbolic_link_are_links_of_their_own() {
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    symlink("target", one.join("a")).unwrap();
    fs::hard_link(one.join("a"), one.join("b")).unwrap();
    for name in ["a", "b"] {
        symlink("target", two.join(name)).unwrap();
    }
    for link in [one.join("a"), two.join("a"), two.join("b")] {
        let run = Command::new("touch").args(["-h", "-d", "@1000"]).arg(link).status().unwrap();
        assert!(run.success());
    }
    assert_eq!(digest(&one), digest(&two));
}

/// What the digest is made of, instead of the digest.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Update for Bytes {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}

/// All that the digest says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    SameAs(Vec<u8>, Vec<u8>),
    File {
        path: Vec<u8>,
        stat: (u32, u32, u32, i64),
        attributes: Vec<(Vec<u8>, Vec<u8>)>,
        target: Vec<u8>,
        content: Vec<u8>,
    },
}

impl Record {
    fn found(&self) -> Found {
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let stat = rustix::fs::stat("/").unwrap();
        match self {
            Self::SameAs(name, first) => Found {
                path: path(name),
                stat,
                attributes: Vec::new(),
                target: None,
                same_as: Some(path(first)),
                content: None,
            },
            Self::File {
                path: name,
                stat: (mode, uid, gid, time),
                attributes,
                target,
                content,
            } => {
                let kind = FileType::from_raw_mode(*mode);
                let mut file = File::from(memfd_create("content", MemfdFlags::CLOEXEC).unwrap());
                file.write_all(content).unwrap();
                file.rewind().unwrap();
                let mut stat = stat;
                (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime) =
                    (*mode, *uid, *gid, *time);
                stat.st_size = content.len().try_into().unwrap();
                Found {
                    path: path(name),
                    stat,
                    attributes: attributes.clone(),
                    target: kind.is_symlink().then(|| target.clone()),
                    same_as: None,
                    content: kind.is_file().then(|| file.into()),
                }
            }
        }
    }

    /// Reads the next record. There is one way to read it, so two trees with the same bytes are the same tree.
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let path = text(bytes)?;
        let stat = text(bytes)?;
        if stat == b"same as" {
            return Some(Self::SameAs(path, text(bytes)?));
        }
        let stat = String::from_utf8(stat).ok()?;
        let mut numbers = stat.split(' ');
        let mode = u32::from_str_radix(numbers.next()?, 8).ok()?;
        let stat = (
            mode,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        );
        let kind = FileType::from_raw_mode(mode);
        let (mut attributes, mut target, mut content) = (Vec::new(), text(bytes)?, Vec::new());
        if kind.is_symlink() {
            if target.is_empty() {
                let count: usize = String::from_utf8(text(bytes)?).ok()?.parse().ok()?;
                for _ in 0..count {
                    attributes.push((text(bytes)?, text(bytes)?));
                }
                target = text(bytes)?;
            }
        } else {
            while !target.is_empty() {
                attributes.push((target, text(bytes)?));
                target = text(bytes)?;
            }
        }
        if kind.is_file() {
            content = text(bytes)?;
        }
        Some(Self::File { path, stat, attributes, target, content })
    }
}

/// A text behind its length.
fn text(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(text.to_vec())
}

/// Texts of which each could also be another part of a record.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let words = ["a", "b", "1", "2", "same as", "user.x", "104755 0 0 5 0", "120777 0 0 5 0"];
    proptest::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec())
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let or_empty = || prop_oneof![words(), Just(Vec::new())];
    let mode = proptest::sample::select(vec![0o100_644, 0o104_755, 0o120_777, 0o120_777, 0o40_755]);
    let attributes = proptest::collection::vec((words(), or_empty()), 0..3);
    let file = (words(), mode, 0_i64..2, attributes, words(), or_empty());
    let file = file.prop_map(|(path, mode, time, attributes, target, content)| {
        let kind = FileType::from_raw_mode(mode);
        let of = |is, bytes| if is { bytes } else { Vec::new() };
        let (target, content) = (of(kind.is_symlink(), target), of(kind.is_file(), content));
        Record::File { path, stat: (mode, 0, 0, 5 * time), attributes, target, content }
    });
    let same = (words(), words()).prop_map(|(name, first)| Record::SameAs(name, first));
    proptest::collection::vec(prop_oneof![4 => file, 1 => same], 0..5)
}

proptest! {
    #[test]
    fn the_bytes_of_a_digest_are_those_of_one_tree(tree in records()) {
        let mut bytes = Bytes::default();
        for record in &tree {
            add(&mut bytes, record.found(), &mut [0; 7], |_| ()).unwrap();
        }
        let (mut rest, mut read) = (bytes.0.as_slice(), Vec::new());
        while !rest.is_empty() {
            read.push(Record::read(&mut rest).unwrap_or_else(|| panic!("{read:?}, then {rest:?}")));
        }
        prop_assert_eq!(read, tree);
    }
}
