use super::super::ext4::make_filesystem;
use super::super::testing::{SIZE, TestDir, dirty_device, image, key, make_and_look, need_root};
use super::super::{MakeError, assemble};
use super::*;
use crate::count::MOST_SPECIAL;
use crate::tree::Tree;

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
    // Small values take no page each, and equal values share a page.
    (0..3000).for_each(|n| set(&format!("small-{n}"), "user.a", &[n as u8, 0, b'"', b'\\']));
    (0..100).for_each(|n| set(&format!("large-{n}"), "user.a", &[b'v'; 2000]));
    set("empty", "user.a", b"");
    let made = tree();
    set_attributes(made.count(SIZE).unwrap(), made.scratch()).unwrap();
    assert_eq!(pages(&made), 2);
    let kept =
        made.count(SIZE).unwrap().attributes.values().flatten().map(|(_, value)| value.capacity());
    assert!(kept.sum::<usize>() < 4 << 20, "what is kept of a value is as long as the value");
    drop(made);
    let look = r#"getfattr -n user.a --only-values small-7 | od -An -tx1
                  getfattr -n user.a --only-values large-7 | wc -c; getfattr -n user.a --only-values empty | wc -c"#;
    assert_eq!(make_and_look(&dir, vec![one.clone()], look), " 07 00 22 5c\n2000\n0\n");

    // At the bound, and one attribute above the bound.
    let there = 3101;
    (there..MOST_SPECIAL).for_each(|n| set(&format!("more-{n}"), "user.a", b"x"));
    let most = tree();
    assert!(set_attributes(most.count(SIZE).unwrap(), most.scratch()).is_ok());
    set("last", "user.a", b"x");
    let error = tree().usage(SIZE).unwrap_err();
    assert!(matches!(error, MakeError::Special { .. }), "{error}");
}
