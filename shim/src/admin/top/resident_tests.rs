use super::*;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn every_file_is_in_one_share() {
    let files = words(&["./a", "./b", "./a-very-long-name", "./c"]);
    let each = 3 + 1 + 8;
    let got: Vec<_> = shares(&files, 2 * each).map(<[_]>::to_vec).collect();
    // The long name gets a share of its own, although it is larger than a share may be.
    assert_eq!(got, [words(&["./a", "./b"]), words(&["./a-very-long-name"]), words(&["./c"])]);
    assert_eq!(shares(&files, MOST_AT_ONCE).collect::<Vec<_>>(), [&files[..]]);
    assert_eq!(shares(&[], MOST_AT_ONCE).count(), 0);
}

#[test]
fn a_figure_a_file_or_none_at_all() {
    assert_eq!(figures(b" 4096 0\n      0 3\n12288 0\n", 3), Ok(16384));
    assert_eq!(figures(b"", 0), Ok(0));
    assert_eq!(figures(b"4096 0\n", 2), Err((1, 2)));
    assert_eq!(figures(b"4096 0\nx\n", 2), Err((1, 2)));
    assert_eq!(figures(b"4096 0\n8192 0\n", 1), Err((2, 1)));
}

#[test]
fn a_terminal_obeys_nothing_of_a_name() {
    assert_eq!(printable(b"./\x1b[2J\xff\xe2\x80\xae"), "./\\u{1b}[2J\\u{fffd}\\u{202e}");
    assert_eq!(printable(&[b'a'; 5000]).len(), 200);
}

/// The function gives the kernel's own figures. Names may have any bytes, links are not followed, and a second name of a file
/// is not counted again.
#[test]
fn files_are_found_whatever_they_are_called() {
    use std::fs;
    use std::os::unix::fs::symlink;
    let dir = std::env::temp_dir().join(format!("sharedroot-resident-{}", std::process::id()));
    fs::create_dir_all(dir.join("--output=FILE")).unwrap();
    for name in [&b"--help"[..], b"a\nb", b"\xff", b"--output=FILE/x"] {
        fs::write(dir.join(OsStr::from_bytes(name)), "text").unwrap();
    }
    fs::write(dir.join("empty"), "").unwrap();
    fs::hard_link(dir.join("--help"), dir.join("z-second-name")).unwrap();
    symlink("/etc/passwd", dir.join("link")).unwrap();
    symlink("/etc", dir.join("directory")).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let top = rustix::fs::open(&dir, flags, Mode::empty()).unwrap();
    let files = regular_files(&top, MOST_KEPT).unwrap();
    let takes = kept(&files);
    assert_eq!(regular_files(&top, takes).unwrap(), files);
    let beyond = regular_files(&top, takes - 1);
    assert!(matches!(beyond, Err(Uncounted::TooManyPaths { .. })), "{beyond:?}");
    fs::remove_dir_all(&dir).unwrap();
    let expected = [&b"./--help"[..], b"./--output=FILE/x", b"./a\nb", b"./\xff"];
    assert_eq!(files, expected.map(|name| OsStr::from_bytes(name).to_owned()));
}

#[test]
fn what_is_no_mount_is_not_counted() {
    let key = crate::testing::key();
    let uncounted = Resident::default().bytes(&key, Path::new("/usr"));
    assert!(matches!(uncounted, Err(Uncounted::NotMounted)), "{uncounted:?}");
}
