use std::fs;
use std::os::unix::fs::symlink;

use super::super::testing::{TestDir, chain, image, need_root, shell};
use super::super::{MakeError, assemble};
use super::*;
use crate::tree::MOST_SPECIAL;

const SIZE: u64 = 256 << 20;
/// For many file systems in one test.
const SMALL: u64 = 32 << 20;

/// A plain file as the device, full of what an earlier volume left there.
fn dirty_device(dir: &TestDir, name: &str, size: u64) -> PathBuf {
    let device = dir.path().join(name);
    let pattern = [0xAA_u8, 0x5B, 0xF3, 0x01].repeat(1 << 18);
    let mut content = Vec::new();
    while (content.len() as u64) < size.min(SIZE) {
        content.extend_from_slice(&pattern);
    }
    fs::write(&device, content).unwrap();
    fs::File::options().write(true).open(&device).unwrap().set_len(size).unwrap();
    device
}

fn key() -> BaseKey {
    BaseKey::of_chain(&chain('a'), None)
}

/// Makes the base of one layer, checks it, mounts it read-only and runs a script in it.
fn make_and_look(dir: &TestDir, layers: Vec<PathBuf>, script: &str) -> String {
    let device = dirty_device(dir, "device", SIZE);
    let mut image = image(layers);
    image.top.mode = 0o1705;
    let tree = assemble(&image, &dir.path().join("making")).unwrap();
    make_filesystem(&tree, &key(), &device, SIZE).unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
    let at = dir.dir("mnt");
    let script = format!(
        "exec 2>&1; unshare -m sh -euc 'mount -o ro,noload,loop \"$1\" \"$2\"; cd \"$2\"; {script}' sh \"$1\" \"$2\""
    );
    shell(&script, &[&device, &at])
}

#[test]
fn root_a_base_holds_what_the_layers_hold() {
    need_root();
    let dir = TestDir::new();
    let one = dir.dir("one");
    shell(
        r#"cd "$1"; mkdir -p bin 'a b' deep/er; echo x >bin/su; chown 12:34 bin/su; chmod 4711 bin/su
           touch -d @1234567 bin/su; ln bin/su bin/sudo; ln -s ../nowhere bin/link
           printf x >"a b/$(printf 'new\nline\377\\')"; mknod dev0 b 7 9; mkfifo fifo
           setfattr -n user.x -v y bin/su; setfattr -n security.selinux -v host_t bin/su deep
           mkdir 'q "u" <5> \'; touch 'q "u" <5> \/-f'; setfattr -n 'user.a "b' -v 0s//8AAQo= 'q "u" <5> \/-f'
           setfattr -h -n trusted.of-link -v 1 bin/link; setfattr -n trusted.large -v "$(printf '%01000d' 1)" fifo
           setfattr -n system.posix_acl_access -v 0sAgAAAAEABwD/////AgAHAE0AAAAEAAUA/////xAABwD/////IAAFAP////8= deep/er
           setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= deep/er
           ln -s "$(printf '%0200d' 1)" long; touch gone; chmod 1777 deep
           chmod 0 'a b'; truncate -s 1G sparse; printf end >>sparse
           i=0; while [ $i -lt 3000 ]; do : >"deep/er/file-with-a-long-name-$i"; i=$((i+1)); done"#,
        &[&one],
    );
    let two = dir.dir("two");
    shell(r#"cd "$1"; mknod gone c 0 0; mkdir -p bin; ln -s x 'bin/new'"#, &[&two]);
    let said = make_and_look(
        &dir,
        vec![two, one.clone()],
        r#"stat -c "%n %a %u:%g %h %Y %s" bin/su bin/sudo; readlink bin/link bin/new
           stat -c "%n %F %t:%T %a" dev0 fifo "a b" deep . ; ls deep/er | wc -l
           getfattr --absolute-names -n user.x --only-values bin/su; echo
           getfattr -n security.capability --only-values deep/er | wc -c
           getfattr -R -P -h -d -m security.selinux . | wc -c
           getfattr -n "user.a \"b" --only-values q*/* | od -An -tx1
           getfattr -h -n trusted.of-link --only-values bin/link; getfattr -n trusted.large --only-values fifo | wc -c
           getfattr -n system.posix_acl_access -e base64 deep/er | grep -o "0s.*"
           readlink long | wc -c; ls -b "a b"; ls -d gone lost+found || true
           tail -c 3 sparse; echo; stat -c "%s" sparse; test $(stat -c %b sparse) -lt 64 && echo is-sparse
           stat -c "%n %a %s" .dockerenv etc/hosts dev/console; readlink etc/mtab
           echo times; find . -mindepth 1 -printf "%C@ %A@\\n" | sort -u; echo end"#,
    );
    for expected in [
        "bin/su 4711 12:34 2 1234567 2",
        "bin/sudo 4711 12:34 2 1234567 2",
        "../nowhere\nx\n",
        "dev0 block special file 7:9 644",
        "fifo fifo 0:0 644",
        "a b directory 0:0 0\n",
        "deep directory 0:0 1777",
        ". directory 0:0 1705\n3000\ny\n20\n0\n ff ff 00 01 0a\n11000\n0sAgAAAAEABwD/////AgAHAE0AAAAEAAUA/////xAABwD/////IAAFAP////8=\n201\n",
        "new\\nline\\377\\\\\n",
        "gone': No such file",
        "lost+found': No such file",
        "end\n1073741827\nis-sparse\n",
        "times\n1.0000000000 1.0000000000\nend\n",
        ".dockerenv 755 0\netc/hosts 755 0\ndev/console 755 0\n/proc/mounts\n",
    ] {
        assert!(said.contains(expected), "lacks {expected:?}:\n{said}");
    }
}

#[test]
fn root_an_images_own_lost_found_stays() {
    need_root();
    let dir = TestDir::new();
    dir.write("one/lost+found/found", "x");
    shell("chmod 750 \"$1\"; chown 5 \"$1\"", &[&dir.path().join("one/lost+found")]);
    let said =
        make_and_look(&dir, vec![dir.dir("one")], r#"stat -c "%a %u" lost+found; ls lost+found"#);
    assert_eq!(said, "750 5\nfound\n");
}

#[test]
fn root_a_base_can_be_written_to_as_a_snapshot_is() {
    need_root();
    let dir = TestDir::new();
    dir.write("one/file", "x");
    let device = dirty_device(&dir, "device", SIZE);
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    make_filesystem(&tree, &key(), &device, SIZE).unwrap();
    shell(
        r#"unshare -m sh -euc 'mount -o noinit_itable,loop "$1" "$2"; cd "$2"
           i=0; while [ $i -lt 200 ]; do mkdir d$i; echo $i >d$i/f; i=$((i+1)); done; cd /; umount "$2"' sh "$1" "$2"
           e2fsck -fn "$1" 2>&1"#,
        &[&device, &dir.dir("mnt")],
    );
}

#[test]
fn root_two_hosts_make_the_same_blocks() {
    need_root();
    let dir = TestDir::new();
    dir.write("here/bin/sh", &"x".repeat(10_000));
    for number in 0..300 {
        dir.write(&format!("here/etc/{}", number * 7919 % 1000), &number.to_string());
    }
    dir.write("here/usr/sub/file", "");
    let capability =
        "setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= \"$1\"/bin/sh";
    shell(capability, &[&dir.dir("here")]);
    let make = |name: &str, layer: &str| {
        let device = dirty_device(&dir, name, SIZE);
        let tree = assemble(&image(vec![dir.dir(layer)]), &dir.path().join("making")).unwrap();
        make_filesystem(&tree, &key(), &device, SIZE).unwrap();
        shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
        device
    };
    // As another host extracts it: other inodes, made later, in another order, and read since; and labelled.
    shell(
        r#"cd "$1"; sleep 1; mkdir ../there; find . | sort -r | tar -c --no-recursion -T - | tar -xp -C ../there
           find . -type d | sort -r | while read d; do touch -r "$d" "../there/$d"; done
           cat ../there/etc/* >/dev/null
           head -c 1000000 /dev/zero >zeros; truncate -s 1000000 ../there/zeros; touch -d @5 zeros ../there/zeros
           find ../there -exec setfattr -h -n security.selinux -v system_u:object_r:container_var_lib_t:s0 {} +"#,
        &[&dir.dir("here")],
    );
    shell(capability, &[&dir.dir("there")]);
    let [first, second] = [make("first", "here"), make("second", "there")];
    let differ = shell("cmp -l \"$1\" \"$2\" | head -20", &[&first, &second]);
    assert_eq!(differ, "");
    let other = BaseKey::of_chain(&chain('b'), None);
    assert_ne!(other.uuid("file system"), key().uuid("file system"));
}

#[test]
fn root_an_image_that_does_not_fit_is_refused_before_it_is_written() {
    need_root();
    let dir = TestDir::new();
    fs::write(dir.dir("one").join("big"), vec![1; 20 << 20]).unwrap();
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    let device = dir.write("device", "");
    let error = make_filesystem(&tree, &key(), &device, 16 << 20).unwrap_err();
    assert!(matches!(error, MakeError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    assert_eq!(fs::metadata(&device).unwrap().len(), 0);
}

#[test]
fn root_attributes_that_just_fit_and_more() {
    need_root();
    let dir = TestDir::new();
    let file = dir.write("one/file", "x");
    let set = |name: &str, length: usize| {
        let value = vec![b'v'; length];
        rustix::fs::setxattr(&file, name, &value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    // 16 bytes of an entry and 6 of the name.
    set("user.a", ATTRIBUTES - 24);
    let device = dirty_device(&dir, "device", SIZE);
    let make = || {
        let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
        make_filesystem(&tree, &key(), &device, SIZE)
    };
    make().unwrap();
    // In the inode itself, where the test's file system is an ext4.
    set("user.b", 1);
    let error = make().unwrap_err();
    assert!(matches!(error, MakeError::Attributes { bytes: 4088, .. }), "{error}");
}

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

/// A tmpfs keeps any time.
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

/// A directory with so many bytes of path below the top, made without a path that the kernel would refuse.
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

/// mke2fs 1.47 writes past its buffer at a path of 2,040 bytes, and calls itself for each directory: a small stack must do.
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

/// mke2fs goes to each name, and makes a symbolic link anew for each.
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

#[test]
fn how_long_a_line_debugfs_reads_is_asked_of_it() {
    assert!(reads_lines_of(SURE_LINE).unwrap());
    assert!(reads_lines_of(LONGEST_LINE).unwrap());
    // One byte is for the end of the text.
    assert!(!reads_lines_of(8193).unwrap());
    let mut script = Script { longest: Some(SURE_LINE), ..Script::default() };
    assert!(script.takes(&[b'x'; SURE_LINE]).unwrap());
    assert!(!script.takes(&[b'x'; SURE_LINE + 1]).unwrap());
    let long = script.add(vec![b'x'; SURE_LINE + 1], Path::new("a")).unwrap_err();
    assert!(matches!(long, MakeError::NotForDebugfs { .. }), "{long}");
}

#[test]
fn root_many_attributes_take_little_and_more_are_refused() {
    need_root();
    let dir = TestDir::new();
    let one = dir.dir("one");
    let set = |name: &str, attribute: &str, value: &[u8]| {
        let file = one.join(name);
        fs::write(&file, "").unwrap();
        rustix::fs::setxattr(&file, attribute, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let tree = || assemble(&image(vec![one.clone()]), &dir.path().join("making")).unwrap();
    let pages = |tree: &Tree| {
        let names = fs::read_dir(tree.scratch()).unwrap().flatten();
        names.filter(|e| e.file_name().to_string_lossy().starts_with("attribute-")).count()
    };
    // Small values take no page each, and equal ones share one.
    (0..3000).for_each(|n| set(&format!("small-{n}"), "user.a", &[n as u8, 0, b'"', b'\\']));
    (0..100).for_each(|n| set(&format!("large-{n}"), "user.a", &[b'v'; 2000]));
    set("empty", "user.a", b"");
    let made = tree();
    set_attributes(&made).unwrap();
    assert_eq!(pages(&made), 2);
    let kept = made.attributes().unwrap().values().flatten().map(|(_, value)| value.capacity());
    assert!(kept.sum::<usize>() < 4 << 20, "what is kept of a value is as long as the value");
    drop(made);
    let look = r#"getfattr -n user.a --only-values small-7 | od -An -tx1
                  getfattr -n user.a --only-values large-7 | wc -c; getfattr -n user.a --only-values empty | wc -c"#;
    assert_eq!(make_and_look(&dir, vec![one.clone()], look), " 07 00 22 5c\n2000\n0\n");

    // At the bound, and one above it.
    let there = 3101;
    (there..MOST_SPECIAL).for_each(|n| set(&format!("more-{n}"), "user.a", b"x"));
    assert!(set_attributes(&tree()).is_ok());
    set("last", "user.a", b"x");
    let error = tree().usage().unwrap_err();
    assert!(matches!(error, MakeError::Special { .. }), "{error}");
}

#[test]
fn root_a_failure_carries_the_programs_words() {
    need_root();
    let dir = TestDir::new();
    symlink("nowhere", dir.dir("one").join("link")).unwrap();
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    let device = dir.dir("a-directory");
    match make_filesystem(&tree, &key(), &device, SIZE) {
        Err(MakeError::Tool { program, stderr, .. }) => {
            assert!(program.ends_with("mke2fs"));
            assert!(stderr.contains("a-directory"), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
    let error = finish(&dir.write("no-file-system", ""), &tree, tree.usage().unwrap(), b"");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("debugfs") && error.contains("no-file-system"), "{error}");
}

#[test]
fn inodes_for_a_snapshot_too() {
    let count = |inodes, size| inode_count(Usage { bytes: 0, inodes }, size);
    assert_eq!(count(10, 16 << 30), 1 << 20);
    assert_eq!(count(100_000, 1 << 20), 125_064);
}

#[test]
fn the_first_lines_on_one() {
    assert_eq!(first_lines(b"\n a \n\nb\n"), "a; b");
    assert_eq!(first_lines(b"1\n2\n3\n4\n5\n6\n"), "1; 2; 3; 4; 5");
    assert_eq!(first_lines(b""), "");
}
