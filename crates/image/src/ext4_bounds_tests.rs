//! What a base of ext4 keeps, at the bounds: times, and paths.

use std::fs;
use std::path::Path;

use super::super::testing::{
    SMALL, TestDir, dirty_device, image, key, make_and_look, need_root, shell,
};
use super::super::{MakeError, assemble};
use super::make_filesystem;

#[test]
fn root_times_after_2038_are_whole_seconds_and_not_cut() {
    need_root();
    let dir = TestDir::new();
    let one = dir.dir("one");
    shell(
        r#"cd "$1"; mkdir -p d; touch 'd/q "u" f' d/same; ln -s nowhere d/link; ln 'd/q "u" f' d/linked
           touch -d @2147483648 'd/q "u" f'; touch -h -d @4294967296 d/link; touch -d @2147483647.5 d/same
           touch -d @10000000000 d"#,
        &[&one],
    );
    let look = r#"stat -c "%n %.Y" d d/q* d/linked d/link d/same"#;
    let said = make_and_look(&dir, vec![one], look);
    for expected in [
        "d 10000000000.000000000\n",
        "d/q \"u\" f 2147483648.000000000\n",
        "d/linked 2147483648.000000000\n",
        "d/link 4294967296.000000000\n",
        "d/same 2147483647.000000000\n",
    ] {
        assert!(said.contains(expected), "lacks {expected:?}:\n{said}");
    }
}

/// Makes a base of a file with this time, in a tmpfs, which keeps any time. Returns the time of the file in the base.
fn with_time(dir: &TestDir, seconds: i64) -> Result<String, MakeError> {
    let one = dir.dir("one");
    shell("mount -t tmpfs tmpfs \"$1\"; touch \"$1/file\"", &[&one]);
    let text = seconds.to_string();
    shell("touch -d @\"$2\" \"$1\"", &[&one.join("file"), Path::new(&text)]);
    let device = dirty_device(dir, "device", SMALL);
    let made = assemble(&image(vec![one.clone()]), &dir.path().join("making"))
        .and_then(|tree| make_filesystem(&tree, &key(), &device, SMALL));
    shell("umount \"$1\"", &[&one]);
    let look =
        r#"unshare -m sh -euc 'mount -o ro,noload,loop "$1" "$2"; stat -c %Y "$2/file"' sh "$@""#;
    made.map(|()| shell(look, &[&device, &dir.dir("mnt")]).trim().to_owned())
}

#[test]
fn root_times_are_kept_or_refused_at_both_ends_of_what_ext4_holds() {
    need_root();
    let dir = TestDir::new();
    for seconds in [-(1 << 31), -1, 0, (1 << 31) - 1, 1 << 31, (1 << 34) - (1 << 31) - 1] {
        assert_eq!(with_time(&dir, seconds).unwrap(), seconds.to_string());
    }
    for seconds in [-(1_i64 << 31) - 1, (1 << 34) - (1 << 31), i64::MIN / 4, i64::MAX / 4] {
        let error = with_time(&dir, seconds).unwrap_err();
        assert!(
            matches!(error, MakeError::Time { seconds: said, .. } if said == seconds),
            "{error}"
        );
    }
}

/// Makes a directory whose path below `top` has `bytes` bytes, step by step: the kernel refuses such a path as a whole.
fn deep(top: &Path, bytes: usize) {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let open = |at: std::os::fd::BorrowedFd<'_>, name: &Path| {
        openat(at, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let mut at = open(CWD, top);
    let mut left = bytes;
    while left > 4 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = open(std::os::fd::AsFd::as_fd(&at), Path::new("d"));
        left -= 2;
    }
    mkdirat(&at, "0".repeat(left - 1), Mode::RWXU).unwrap();
    rustix::fs::fsetxattr(&at, "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
}

/// mke2fs 1.47 writes past the end of its buffer at a path of 2,040 bytes, and calls itself for each directory. A small stack
/// must be enough for the longest path.
#[test]
fn root_a_deep_tree_is_made_on_a_small_stack_and_a_deeper_one_is_refused() {
    need_root();
    let dir = TestDir::new();
    let one = dir.dir("one");
    deep(&one, 2000);
    let device = dirty_device(&dir, "device", SMALL);
    let make = || {
        let tree = assemble(&image(vec![one.clone()]), &dir.path().join("making")).unwrap();
        make_filesystem(&tree, &key(), &device, SMALL)
    };
    shell("prlimit --pid $PPID --stack=1048576:", &[]);
    let made = make();
    shell("prlimit --pid $PPID --stack=8388608:", &[]);
    made.unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
    for bytes in [2001, 2039, 2040, 2041, 3000] {
        let _ = fs::remove_dir_all(&one);
        dir.dir("one");
        deep(&one, bytes);
        let error = make().unwrap_err();
        assert!(matches!(error, MakeError::LongPath { .. }), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
}

/// mke2fs visits each name of a file, and makes a new symbolic link for each name of a symbolic link.
#[test]
fn root_every_name_of_a_file_has_the_bound() {
    need_root();
    for is_link in [true, false] {
        let dir = TestDir::new();
        let one = dir.dir("one");
        deep(&one, 1900);
        let mut deepest = one.clone();
        while let Some(entry) = fs::read_dir(&deepest).unwrap().next() {
            deepest = entry.unwrap().path();
        }
        match is_link {
            true => std::os::unix::fs::symlink("target", one.join("a")).unwrap(),
            false => fs::write(one.join("a"), "a").unwrap(),
        }
        let device = dirty_device(&dir, "device", SMALL);
        let tree = || assemble(&image(vec![one.clone()]), &dir.path().join("making")).unwrap();
        let more = |length: usize| {
            rustix::fs::link(one.join("a"), deepest.join("b".repeat(length))).unwrap();
        };
        more(98);
        make_filesystem(&tree(), &key(), &device, SMALL).unwrap();
        shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
        more(138);
        let error = make_filesystem(&tree(), &key(), &device, SMALL).unwrap_err();
        assert!(matches!(error, MakeError::LongPath { .. }), "{error}");
    }
}

/// mke2fs counts the names of a file in 16 bits, and ends without an error when the count begins at zero again.
#[test]
fn root_the_file_with_the_most_names_is_whole() {
    need_root();
    let dir = TestDir::in_memory();
    let one = dir.dir("one");
    shell("mkdir \"$1/d\"; echo x >\"$1/d/file\"", &[&one]);
    let names = |from: u32, to: u32| {
        for n in from..to {
            let above = one.join(format!("d{}", n / 1000));
            let _ = fs::create_dir(&above);
            fs::hard_link(one.join("d/file"), above.join(n.to_string())).unwrap();
        }
    };
    names(1, 65_000);
    let device = dirty_device(&dir, "device", SMALL);
    let tree = || assemble(&image(vec![one.clone()]), &dir.path().join("making")).unwrap();
    make_filesystem(&tree(), &key(), &device, SMALL).unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
    let said = shell("debugfs -R 'stat /d/file' \"$1\" 2>/dev/null", &[&device]);
    assert!(said.contains("Links: 65000 "), "{said}");
    names(65_000, 65_001);
    let error = make_filesystem(&tree(), &key(), &device, SMALL).unwrap_err();
    assert!(matches!(error, MakeError::TooMany { most: 65_000, .. }), "{error}");
}

/// Files with many extents and with attributes, and a directory that grows between them: all that ext4 keeps beside content.
#[test]
fn root_an_image_fits_or_is_refused_before_anything_is_written() {
    need_root();
    let dir = TestDir::new();
    let one = dir.dir("one");
    shell(
        r#"cd "$1"; mkdir many
           for file in a b c; do
             i=0; while [ $i -lt 700 ]; do printf x | dd of=$file bs=4k seek=$((2*i)) conv=notrunc status=none; i=$((i+1)); done
           done
           i=0; while [ $i -lt 600 ]; do printf x >many/$(printf %0200d $i); i=$((i+1)); done
           setfattr -n user.x -v "$(printf %0900d 0)" many/*"#,
        &[&one],
    );
    let tree = assemble(&image(vec![one]), &dir.path().join("making")).unwrap();
    let usage = tree.usage(1 << 30).unwrap();
    let fits = |size: &u64| usage.needs(*size) <= *size;
    let size = (1 << 20..1 << 30).step_by(4096).find(fits).unwrap();
    let device = dir.write("device", "");
    let error = make_filesystem(&tree, &key(), &device, size - 4096).unwrap_err();
    assert!(matches!(error, MakeError::TooLarge { .. }), "{error}");
    assert_eq!(fs::metadata(&device).unwrap().len(), 0);
    make_filesystem(&tree, &key(), &device, size).unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
    let said = shell("dumpe2fs -h \"$1\" 2>/dev/null | grep '^Free blocks:'", &[&device]);
    let free: u64 = said.split_whitespace().last().unwrap().parse().unwrap();
    // Those of lost+found, of the lists of extents on this disk, and of the inode table, which mke2fs makes no smaller.
    assert!(free < 32, "{said}");
}
