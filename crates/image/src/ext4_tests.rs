use std::fs;
use std::os::unix::fs::symlink;

use super::super::testing::{
    SIZE, TestDir, chain, dirty_device, image, key, make_and_look, need_root, shell,
};
use super::super::{MakeError, assemble};
use super::*;

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
    // The tree as another host extracts it: with other inodes, made later and in another order, read since, and labelled.
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
    let error = finish(&dir.write("no-file-system", ""), &tree, tree.usage(SIZE).unwrap(), b"");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("debugfs") && error.contains("no-file-system"), "{error}");
}

/// A script for all inodes of an image would take as much memory as the image has files.
#[test]
fn each_inode_is_in_one_script_and_no_script_is_long() {
    let all: Vec<_> = pieces(12..12 + 2 * INODES_OF_A_SCRIPT + 1).collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().flat_map(Clone::clone).eq(12..12 + 2 * INODES_OF_A_SCRIPT + 1));
    assert_eq!(pieces(12..12).count(), 0);
    assert_eq!(fixed_times(12..13), b"sif <12> ctime @1\nsif <12> atime @1\n");
    let last = 1 << 21;
    assert!(fixed_times(last - INODES_OF_A_SCRIPT..last).len() < 5 << 20);
}
