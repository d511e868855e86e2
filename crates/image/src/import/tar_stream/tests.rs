//! Sparse files of every form, times at the bounds of ext4, and streams that are no tar.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tar::EntryType;

use super::super::testing::{Tar, Unpacked, gnu_header, header, record};

fn unpacked(tars: &[Vec<u8>]) -> Unpacked {
    Unpacked::of(tars).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn root_sparse_files_of_every_form_and_holes_of_plain_ones() {
    const TIB: u64 = 1 << 40;
    let stat = |layers: &Unpacked, name: &str| {
        fs::metadata(layers.dir.path().join("0").join(name)).unwrap()
    };
    let at = |layers: &Unpacked, offset: u64| {
        use std::os::unix::fs::FileExt;
        let mut byte = [0; 4];
        fs::File::open(layers.dir.path().join("0/file"))
            .unwrap()
            .read_exact_at(&mut byte, offset)
            .unwrap();
        byte
    };
    // GNU's old form.
    let header = gnu_header(EntryType::GNUSparse, "file", |header| {
        header.set_size(8);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(TIB);
        for (n, offset) in [0, TIB - 4].into_iter().enumerate() {
            gnu.sparse[n].set_offset(offset);
            gnu.sparse[n].set_length(4);
        }
    });
    let old = Tar::new().header(&header, b"headtail");
    // pax's forms 1.0 and 0.1.
    let tib = TIB.to_string();
    let map = format!("2\n0\n4\n{}\n4\n", TIB - 4);
    let mut content = map.into_bytes();
    content.resize(512, 0);
    content.extend(b"headtail");
    let keys = [
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.name", b"file"),
        record(b"GNU.sparse.realsize", tib.as_bytes()),
    ];
    let one = Tar::new().pax(&keys.concat()).raw(
        EntryType::Regular,
        b"GNUSparseFile.0/file",
        b"",
        &content,
    );
    let map = format!("0,4,{},4", TIB - 4);
    let keys = [
        record(b"GNU.sparse.map", map.as_bytes()),
        record(b"GNU.sparse.numblocks", b"2"),
        record(b"GNU.sparse.name", b"file"),
        record(b"GNU.sparse.size", tib.as_bytes()),
    ];
    let zero = Tar::new().pax(&keys.concat()).raw(
        EntryType::Regular,
        b"GNUSparseFile.0/file",
        b"",
        b"headtail",
    );
    for tar in [old, one, zero] {
        let layers = unpacked(&[tar.file("after", "").bytes()]);
        assert_eq!(stat(&layers, "file").len(), TIB);
        assert!(stat(&layers, "file").blocks() < 100);
        assert_eq!((at(&layers, 0), at(&layers, TIB - 4)), (*b"head", *b"tail"));
        assert!(layers.merged().has("after"));
    }
    // A tar without a map: zeros are holes again.
    let mut zeros = vec![0; 8 << 20];
    zeros[5 << 20] = 1;
    let layers = unpacked(&[Tar::new().raw(EntryType::Regular, b"file", b"", &zeros).bytes()]);
    assert_eq!(fs::read(layers.dir.path().join("0/file")).unwrap(), zeros);
    assert!(stat(&layers, "file").blocks() < 100);
    // Maps that lie.
    for map in ["0,4,2,4", "0,4,99,8", "0,9", "0,4,0,4", "8,8", "0,x", "18446744073709551615,8"] {
        let count = (map.split(',').count() / 2).to_string();
        let keys = [
            record(b"GNU.sparse.map", map.as_bytes()),
            record(b"GNU.sparse.numblocks", count.as_bytes()),
            record(b"GNU.sparse.size", b"100"),
        ];
        let tar = Tar::new().pax(&keys.concat()).raw(EntryType::Regular, b"file", b"", b"headtail");
        let said = Unpacked::of(&[tar.bytes()])
            .map(|_| ())
            .map_err(|error| sharedroot_sys::chain::chain(&error));
        let is_refused = said.as_ref().is_err_and(|error| error.contains("sparse"));
        assert_eq!(is_refused, map != "8,8", "{map}: {said:?}");
    }
}

#[test]
fn root_what_is_no_tar_says_where() {
    let whole = Tar::new().file("a", &"x".repeat(2000)).file("b", "y").bytes();
    let cut = Unpacked::error(&[whole[..1000].to_vec()]);
    assert!(cut.contains("at byte"), "{cut}");
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    assert!(Unpacked::error(&[wrong]).contains("checksum"), "a header was changed");
    let unknown = Tar::new().raw(EntryType::new(b'V'), b"volume", b"", b"").bytes();
    assert!(Unpacked::error(&[unknown]).contains("type 'V'"));
    let huge = gnu_header(EntryType::GNULongName, "", |header| header.set_size(1 << 40));
    assert!(Unpacked::error(&[huge.as_bytes().to_vec()]).contains("bytes of names"));
}

#[test]
fn root_a_time_that_ext4_would_cut_is_refused() {
    let at = |seconds: i64| {
        let mtime = record(b"mtime", seconds.to_string().as_bytes());
        vec![Tar::new().pax(&mtime).file("file", "").bytes()]
    };
    for seconds in [-(1 << 31), (1 << 34) - (1 << 31) - 1] {
        unpacked(&at(seconds));
    }
    for seconds in [i64::MIN, -(1 << 31) - 1, (1 << 34) - (1 << 31), i64::MAX] {
        let error = Unpacked::error(&at(seconds));
        assert!(error.contains(&format!("a time {seconds} s after 1970")), "{error}");
    }
}

/// Where records contradict each other, or the version of a sparse file is unknown, the tree is the one of Go's archive/tar
/// (`Reader.next`, `readGNUSparsePAXHeaders`), because an engine makes that tree of the same layer.
#[test]
fn root_names_and_types_are_those_that_an_engine_takes() {
    let long = |kind: u8, name: &[u8]| (EntryType::new(kind), [name, b"\0"].concat());
    let both = |pax: &[u8], (kind, text): (EntryType, Vec<u8>)| {
        Tar::new().pax(pax).raw(kind, b"././@LongLink", b"", &text)
    };
    let place = |layers: &Unpacked, name: &str| layers.dir.path().join("0").join(name);

    let named = both(&record(b"path", b"pax"), long(b'L', b"gnu")).file("header", "");
    let layers = unpacked(&[named.bytes()]);
    assert!(place(&layers, "gnu").is_file() && !place(&layers, "pax").exists());
    let linked = both(&record(b"linkpath", b"pax"), long(b'K', b"gnu"));
    let layers = unpacked(&[linked.raw(EntryType::Symlink, b"link", b"header", b"").bytes()]);
    assert_eq!(fs::read_link(place(&layers, "link")).unwrap().to_str(), Some("gnu"));

    for (major, minor) in [(None, None), (Some("7"), None), (Some("1"), Some("5"))] {
        let mut keys = record(b"GNU.sparse.name", b"other");
        keys.extend(record(b"GNU.sparse.realsize", b"100"));
        for (key, value) in [("GNU.sparse.major", major), ("GNU.sparse.minor", minor)] {
            keys.extend(
                value.map(|value| record(key.as_bytes(), value.as_bytes())).unwrap_or_default(),
            );
        }
        if major.is_some() {
            keys.extend(record(b"GNU.sparse.map", b"0,4"));
        }
        let layers = unpacked(&[Tar::new().pax(&keys).file("file", "0\nplain").bytes()]);
        assert_eq!(fs::read(place(&layers, "file")).unwrap(), b"0\nplain", "{major:?} {minor:?}");
        assert!(!place(&layers, "other").exists(), "{major:?} {minor:?}");
    }
    let keys = [
        record(b"GNU.sparse.map", b"0,4"),
        record(b"GNU.sparse.numblocks", b"1"),
        record(b"GNU.sparse.size", b"8"),
        record(b"GNU.sparse.realsize", b"16"),
    ];
    let layers = unpacked(&[Tar::new().pax(&keys.concat()).file("file", "head").bytes()]);
    assert_eq!(fs::metadata(place(&layers, "file")).unwrap().len(), 8);

    for (letter, is_dir) in [(0, true), (b'0', false)] {
        let header = header(EntryType::Regular, "x/", |header| {
            header.set_mode(0o755);
            header.as_old_mut().linkflag = [letter];
        });
        let layers = unpacked(&[Tar::new().header(&header, b"").bytes()]);
        assert_eq!(place(&layers, "x").is_dir(), is_dir, "{letter}");
    }
}
