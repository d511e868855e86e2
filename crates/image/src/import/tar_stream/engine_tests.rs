//! Tars that can be read in two ways: the way of Go's archive/tar (reader.go, strconv.go, format.go), by which engines read layers.
//! `tests/beside_go.rs` compares the two readers themselves; these are the cases that once differed, and those next to them.

use tar::{EntryType, Header};

use super::super::fuzz::list;
use super::super::testing::{Tar, header, record};

const LONG_NAME: EntryType = EntryType::GNULongName;
const LONG_LINK: EntryType = EntryType::GNULongLink;
const GLOBAL: EntryType = EntryType::XGlobalHeader;

/// The names of the entries, and the end of the tar.
fn names(tar: Tar) -> Vec<String> {
    names_of(&tar.bytes())
}

fn names_of(tar: &[u8]) -> Vec<String> {
    let field = |line: &str| -> Option<String> {
        let (_, rest) = line.split_once(" name=")?;
        let digits = rest.split(' ').next()?;
        let byte = |n| u8::from_str_radix(&digits[n..n + 2], 16).unwrap();
        Some(String::from_utf8((0..digits.len()).step_by(2).map(byte).collect()).unwrap())
    };
    list(tar).into_iter().map(|line| field(&line).unwrap_or(line)).collect()
}

/// A file `name` of no content whose header is changed.
fn changed(name: &str, change: impl FnOnce(&mut [u8; 512])) -> Header {
    header(EntryType::Regular, name, |header| change(header.as_mut_bytes()))
}

fn file(name: &str, change: impl FnOnce(&mut [u8; 512])) -> Tar {
    Tar::new().header(&changed(name, change), b"")
}

/// What the reader says of a tar that Go refuses.
fn refused(tar: Tar) -> String {
    let lines = list(&tar.bytes());
    let [error] = &lines[..] else { panic!("{lines:?}") };
    error.strip_prefix("error ").expect("an error").to_owned()
}

#[test]
fn a_global_header_takes_what_stands_before_it() {
    let path = || Tar::new().pax(&record(b"path", b"pax"));
    assert_eq!(names(path().file("header", "")), ["pax", "end"]);
    let global = |tar: Tar| tar.raw(GLOBAL, b"global", b"", &record(b"comment", b"git's"));
    assert_eq!(names(global(path()).file("header", "")), ["header", "end"]);
    let long = Tar::new().raw(LONG_NAME, b"././@LongLink", b"", b"gnu\0");
    assert_eq!(names(global(long).file("header", "")), ["header", "end"]);
    // Otherwise the second header would be the content of the first file.
    let size = Tar::new().pax(&record(b"size", b"512"));
    assert_eq!(names(global(size).file("one", "").file("two", "")), ["one", "two", "end"]);
    assert!(refused(Tar::new().raw(GLOBAL, b"global", b"", b"no record")).contains("malformed"));
}

#[test]
fn a_prefix_is_where_the_format_has_one() {
    let with = |magic: &[u8; 8], prefix: &[u8], rest: &[(usize, &[u8])]| {
        names(file("name", |header| {
            header[257..265].copy_from_slice(magic);
            header[345..345 + prefix.len()].copy_from_slice(prefix);
            for (at, text) in rest {
                header[*at..at + text.len()].copy_from_slice(text);
            }
        }))
    };
    for magic in [b"ustar\x0000", b"ustar\0 \0", b"ustar\0\0\0"] {
        assert_eq!(with(magic, b"dir", &[]), ["dir/name", "end"], "{}", magic.escape_ascii());
    }
    assert_eq!(with(b"\0\0\0\0\0\0\0\0", b"dir", &[]), ["name", "end"]);
    // Go before 1.8 wrote a prefix where GNU's format has times.
    assert_eq!(with(b"ustar  \0", b"old/dir", &[]), ["old/dir/name", "end"]);
    assert_eq!(with(b"ustar  \0", b"", &[(357, b"dir")]), ["name", "end"]);
    assert_eq!(with(b"ustar  \0", b"14713302577\x0014713302577\0", &[]), ["name", "end"]);
    assert_eq!(with(b"ustar  \0", "dír".as_bytes(), &[]), ["name", "end"]);
    assert_eq!(with(b"ustar 00", b"dir", &[]), ["name", "end"]);
    // Schily's prefix is shorter, because times are behind it.
    let (prefix, times) =
        ([b'p'; 131], [(476, &b"14713302577\x0014713302577\0"[..]), (508, b"tar\0")]);
    let long = format!("{}/name", "p".repeat(131));
    assert_eq!(with(b"ustar\x0000", &prefix, &times), [long.as_str(), "end"]);
    let error = with(b"ustar\x0000", b"dir", &[(476, b"soon"), (508, b"tar\0")]);
    assert!(error[0].contains("one of its times"), "{error:?}");
}

#[test]
fn an_empty_long_name_is_none() {
    for name in [&b""[..], b"\0", b"\0rest"] {
        let tar = Tar::new().raw(LONG_NAME, b"././@LongLink", b"", name).dir("header/");
        assert_eq!(names(tar), ["header/", "end"]);
        let tar = Tar::new().pax(&record(b"path", b"pax"));
        let tar = tar.raw(LONG_NAME, b"././@LongLink", b"", name).file("header", "");
        assert_eq!(names(tar), ["pax", "end"]);
        let tar = Tar::new().raw(LONG_LINK, b"././@LongLink", b"", name).symlink("link", "header");
        assert!(list(&tar.bytes())[0].contains(" link=686561646572 "), "a link to `header`");
    }
    // A later one counts, and the next entry has none.
    let tar = Tar::new().raw(LONG_NAME, b"", b"", b"first").raw(LONG_NAME, b"", b"", b"second");
    assert_eq!(names(tar.file("a", "").file("b", "")), ["second", "b", "end"]);
}

/// A file with this pax header, and `head` as its content.
fn sparse(records: &[(&str, &str)], kind: EntryType) -> Tar {
    let records = records.iter().flat_map(|(key, value)| record(key.as_bytes(), value.as_bytes()));
    Tar::new().pax(&records.collect::<Vec<_>>()).raw(kind, b"file", b"", b"head")
}

#[test]
fn a_sparse_map_is_the_one_of_single_records() {
    const OFFSET: (&str, &str) = ("GNU.sparse.offset", "4");
    const LENGTH: (&str, &str) = ("GNU.sparse.numbytes", "4");
    const MAP: (&str, &str) = ("GNU.sparse.map", "0,4");
    const ONE: (&str, &str) = ("GNU.sparse.numblocks", "1");
    const SIZE: (&str, &str) = ("GNU.sparse.size", "8");
    let line = |records: &[_]| list(&sparse(records, EntryType::Regular).bytes()).remove(0);
    let (at_0, at_4) = (line(&[MAP, ONE, SIZE]), line(&[OFFSET, LENGTH, ONE, SIZE]));
    assert!(at_0.starts_with("file ") && at_4.starts_with("file ") && at_0 != at_4);
    assert_eq!(line(&[OFFSET, LENGTH, MAP, ONE, SIZE]), at_4);
    assert_eq!(line(&[MAP, OFFSET, LENGTH, ONE, SIZE]), at_4);
    // A record of an unknown version, and one of an empty number: plain files.
    let plain = line(&[]);
    assert_eq!(line(&[("GNU.sparse.major", "7"), MAP, ONE, SIZE]), plain);
    assert_eq!(line(&[MAP, ("GNU.sparse.offset", ""), ONE, SIZE]), plain);
    // The stored length is that of the file if no record says another.
    assert_eq!(line(&[MAP, ONE]), plain);
    for (records, words) in [
        (&[MAP, SIZE][..], "as many pairs as it says"),
        (&[MAP, ("GNU.sparse.numblocks", "2"), SIZE], "as many pairs as it says"),
        (&[LENGTH, OFFSET], "without an offset"),
        (&[OFFSET, ("GNU.sparse.numbytes", "4,8,4")], "without an offset"),
        (&[MAP, ONE, ("GNU.sparse.size", "-1")], "a sparse file of -1 bytes"),
    ] {
        let error = refused(sparse(records, EntryType::Regular));
        assert!(error.contains(words), "{records:?}: {error}");
    }
    let records = record(b"GNU.sparse.map", b"0,0");
    let records = [records, record(b"GNU.sparse.numblocks", b"1")].concat();
    let error = refused(Tar::new().pax(&records).dir("dir"));
    assert!(error.contains("a sparse file that is no file"), "{error}");
}

#[test]
fn a_map_in_gnus_header_ends_at_its_first_hole() {
    let sparse = |change: &dyn Fn(&mut [u8; 512])| {
        let header = changed("file", |header| {
            header[156] = b'S';
            header[257..265].copy_from_slice(b"ustar  \0");
            header[124..136].copy_from_slice(b"00000000004\0");
            header[386..410].copy_from_slice(b"00000000000\x0000000000004\0");
            header[483..495].copy_from_slice(b"00000000020\0");
            change(header);
        });
        Tar::new().header(&header, b"head")
    };
    let whole = list(&sparse(&|_| {}).bytes());
    assert!(whole[0].contains(" size=16 "), "{whole:?}");
    // What stands behind an empty extent is no extent, and one of no bytes is one.
    let behind =
        |header: &mut [u8; 512]| header[434..458].copy_from_slice(b"00000000010\x0000000000004\0");
    assert_eq!(list(&sparse(&behind).bytes()), whole);
    let empty = |header: &mut [u8; 512]| header[410..422].copy_from_slice(b"00000000010\0");
    assert_eq!(list(&sparse(&empty).bytes()), whole);
    let beyond = |header: &mut [u8; 512]| header[410..422].copy_from_slice(b"00000000021\0");
    assert!(refused(sparse(&beyond)).contains("outside of the file"));
    // Any byte but NUL says that the map goes on.
    let goes_on = sparse(&|header| header[482] = b'y').bytes();
    let more = [&goes_on[..512], &[0; 512], &goes_on[512..]].concat();
    assert_eq!(list(&more), whole);
    let is_ustar = |header: &mut [u8; 512]| header[257..265].copy_from_slice(b"ustar\x0000");
    assert!(refused(sparse(&is_ustar)).contains("without a map"));
}

#[test]
fn a_field_that_is_no_number_is_refused_whatever_replaces_it() {
    let fields =
        [(100, "mode"), (108, "user"), (116, "group"), (136, "time"), (329, "major number")];
    for (at, what) in fields {
        for bad in [b"+000644", b"000068\0", b"\t00644\0"] {
            let pax = [record(b"uid", b"5"), record(b"gid", b"5"), record(b"mtime", b"5")];
            let header = changed("file", |header| header[at..at + 7].copy_from_slice(bad));
            let error = refused(Tar::new().pax(&pax.concat()).header(&header, b""));
            assert!(error.contains(&format!("its {what} is no number")), "{error}");
        }
    }
    // Spaces and NULs around it, none at all, and GNU's base 256 are forms of a number.
    let modes: [(&[u8; 8], &str); 5] = [
        (b"  0644\0 ", "644"),
        (b"\0\0\x000644\0", "644"),
        (b"00000644", "644"),
        (b"\0\0\0\0\0\0\0\0", "0"),
        (b"\x80\0\0\0\0\0\x01\xa4", "644"),
    ];
    for (mode, expected) in modes {
        let line = list(&file("file", |header| header[100..108].copy_from_slice(mode)).bytes());
        assert!(line[0].contains(&format!(" mode={expected} ")), "{line:?}");
    }
    assert!(refused(file("file", |header| header[124..136].fill(0xff))).contains("its size is -1"));
}

#[test]
fn what_no_engine_makes_alike_is_refused() {
    let device = |magic: &[u8; 8], numbers: &[u8; 16]| {
        file("null", |header| {
            header[156] = b'3';
            header[257..265].copy_from_slice(magic);
            header[329..345].copy_from_slice(numbers);
        })
    };
    let line = |tar: Tar| list(&tar.bytes()).remove(0);
    assert!(line(device(b"ustar\0 \0", b"0000001\x000000003\0")).contains(" device=1:3 "));
    // Version 7's header has no numbers, and Go takes them for 0: a whiteout.
    assert!(line(device(b"\0\0\0\0\0\0\0\0", b"0000001\x000000003\0")).contains(" device=0:0 "));
    // Docker keeps the lowest 12 bits of the major number: this would be a whiteout.
    for numbers in [b"0010000\x000000000\0", b"0000001\x004000000\0"] {
        assert!(refused(device(b"ustar\x0000", numbers)).contains("no device of Linux"));
    }
    // chown(2) takes the lowest 32 bits, and 2^32 - 1 for no change.
    for uid in ["-1", "4294967295", "4294967296"] {
        let tar = Tar::new().pax(&record(b"uid", uid.as_bytes())).file("file", "");
        assert!(refused(tar).contains(&format!("{uid} is no number of a user")));
    }
    let nameless = Tar::new().pax(&record(b"SCHILY.xattr.", b"x")).file("file", "");
    assert!(refused(nameless).contains("attribute without a name"));
    let time = Tar::new().pax(&record(b"atime", b"soon")).file("file", "");
    assert!(refused(time).contains("the atime of a pax record"));
}

#[test]
fn the_last_block_may_lack_its_rest() {
    let tar = Tar::new().file("a", "content").bytes();
    assert_eq!(names_of(&tar[..512 + 7]), ["a", "end"]);
    assert_eq!(names_of(&tar[..512 + 100]), ["a", "end"]);
    assert!(names_of(&tar[..512 + 6])[0].starts_with("error "));
    assert!(names_of(&tar[..500])[0].starts_with("error "));
}
