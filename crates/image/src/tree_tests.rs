use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use super::super::testing::{SIZE, TestDir, image, need_root, shell};
use super::*;

fn through(tree: &Tree, path: &str) -> PathBuf {
    sharedroot_sys::by_descriptor::by_descriptor(tree.root()).join(path)
}

#[test]
fn root_the_layers_are_merged_and_not_written() {
    need_root();
    let dir = TestDir::new();
    dir.write("one/etc/hosts", "one");
    dir.write("one/gone", "");
    dir.write("one/file", "one");
    dir.write("two/file", "two");
    shell("mknod \"$1/gone\" c 0 0", &[&dir.dir("two")]);
    shell("chmod 700 \"$1\"; touch -d @77 \"$1/etc\"", &[&dir.dir("one")]);
    let scratch = dir.path().join("run/making/key");
    let mut merged = image(vec![dir.dir("two"), dir.dir("one")]);
    merged.top.owner = sharedroot_format::Owner { uid: 3, gid: 4 };

    let tree = assemble(&merged, &scratch).unwrap();
    assert_eq!(fs::read_to_string(through(&tree, "file")).unwrap(), "two");
    assert!(!through(&tree, "gone").exists());
    assert_eq!(fs::read_to_string(through(&tree, "etc/hosts")).unwrap(), "");
    assert_eq!(fs::metadata(through(&tree, "etc")).unwrap().mtime(), 77);
    let root = fs::metadata(through(&tree, "")).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o755, 3, 4));
    assert_eq!(fs::metadata(&scratch).unwrap().mode() & 0o7777, 0o700);

    assert_eq!(fs::read_to_string(dir.path().join("one/etc/hosts")).unwrap(), "one");
    assert!(!dir.path().join("two/etc").exists());
    drop(tree);
    assert!(!scratch.exists());
    assert!(scratch.parent().unwrap().exists());
}

#[test]
fn root_the_remains_of_a_killed_maker_are_removed() {
    need_root();
    let dir = TestDir::new();
    dir.write("one/file", "");
    dir.write("making/upper/etc/hosts/left", "behind");
    dir.dir("making/work/work");
    symlink(dir.path().join("one"), dir.path().join("making/link")).unwrap();
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    assert!(fs::metadata(through(&tree, "etc/hosts")).unwrap().is_file());
    assert!(!dir.path().join("making/link").exists());
    assert!(dir.path().join("one/file").exists());
}

#[test]
fn root_a_missing_layer_says_what_to_do() {
    need_root();
    let dir = TestDir::new();
    let missing = dir.path().join("gone/diff");
    let scratch = dir.path().join("making");
    let error = assemble(&image(vec![dir.dir("one"), missing.clone()]), &scratch).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("layer {} is missing", missing.display())), "{text}");
    assert!(text.contains("docker rmi"), "{text}");
    let file = dir.write("file", "");
    assert!(matches!(assemble(&image(vec![file]), &scratch), Err(MakeError::Layer { .. })));
    assert!(!scratch.exists());
}

#[test]
fn root_usage_stays_in_its_mount() {
    need_root();
    let dir = TestDir::new();
    dir.write("one/a/file", "x");
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    let usage = tree.usage(SIZE).unwrap();
    // top, a, file; dev with 3, proc, sys, etc with 4, .dockerenv
    assert_eq!(usage.inodes, 3 + 4 + 1 + 1 + 5 + 1);
    assert_eq!(tree.usage(SIZE).unwrap(), usage);
}
