use std::fs;
use std::io::Write;

use tar::EntryType;

use sharedroot_sys::chain::chain;

use super::super::testing::{Tar, gnu_header};
use super::*;

/// What `Files::open` says of a tar whose last header claims `size` bytes (GNU's base 256), with `content` behind it.
fn opened(size: u64, content: &[u8]) -> Result<Files, ImportError> {
    let name = format!("sharedroot-files-{}-{size}-{}", std::process::id(), content.len());
    let path = std::env::temp_dir().join(name);
    let header = gnu_header(EntryType::Regular, "file", |header| {
        header.as_old_mut().size = [0; 12];
        header.as_old_mut().size[0] = 0x80;
        header.as_old_mut().size[4..].copy_from_slice(&size.to_be_bytes());
    });
    let mut file = File::create(&path).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(content).unwrap();
    let files = Files::open(&path);
    fs::remove_file(&path).unwrap();
    files
}

/// Each name is kept, and the longest that is read has nearly a MiB.
#[test]
fn names_have_a_bound_in_bytes() {
    let open = |names: u32, linked: usize| {
        let long = |n: u32| n.to_string().repeat(1_000_000);
        let tar = (0..names).fold(Tar::new(), |tar, n| tar.file(&long(n), ""));
        let tar = if linked > 0 { tar.symlink("link", &"x".repeat(linked)) } else { tar };
        let path = std::env::temp_dir().join(format!("sharedroot-names-{}", std::process::id()));
        fs::write(&path, tar.bytes()).unwrap();
        let opened = Files::open(&path);
        fs::remove_file(&path).unwrap();
        opened
    };
    let left = MOST_NAME_BYTES - 4_000_000 - "link".len();
    assert!(open(4, left).is_ok());
    for (names, linked) in [(5, 0), (4, left + 1)] {
        let error = open(names, linked).unwrap_err();
        assert!(error.to_string().contains("of longer names"), "{error}");
    }
}

#[test]
fn a_size_that_leads_back_is_refused() {
    // The archive that never ended: 2^64 - 512 bytes and a header lead to the header itself.
    for size in [u64::MAX, u64::MAX - 511, u64::MAX - 1023, 1 << 63, (1 << 63) - 512] {
        let error = opened(size, &[0; 4096]).unwrap_err();
        let words = if size < 1 << 63 { "no file can have" } else { "its size is no number" };
        assert!(chain(&error).contains(words), "{size}: {error}");
    }
}

#[test]
fn a_file_that_the_archive_has_not_all_of_is_an_error() {
    for (size, there) in [(1 << 62, 4096), (513, 512), (1, 0)] {
        let error = opened(size, &vec![b'x'; there]).unwrap_err();
        assert!(matches!(error, ImportError::Source { .. }), "{size}: {error}");
    }
    for (size, there) in [(512, 512), (1, 1), (513, 513), (513, 1024)] {
        let files = opened(size, &vec![b'x'; there]).unwrap();
        assert_eq!(files.get("file").unwrap().size(), size);
    }
}
