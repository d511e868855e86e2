use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

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
