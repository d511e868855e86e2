//! The records of a pax header: `LENGTH KEY=VALUE\n`, with any bytes in the value (POSIX, pax(1), "pax Extended Header"), read as
//! Go's archive/tar reads them (reader.go, `parsePAX`, `mergePAX`), because the engines do.

use std::collections::BTreeMap;

use super::number::decimal;

/// The most extended attributes of one entry. ext4 has room for some 200 of a file.
const MOST_ATTRIBUTES: usize = 1000;
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
const MAP: &[u8] = b"GNU.sparse.map";

/// The other keys that have a meaning.
const KEYS: [&[u8]; 15] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"atime",
    b"ctime",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.name",
    b"GNU.sparse.size",
    b"GNU.sparse.realsize",
    b"GNU.sparse.numblocks",
    MAP,
];

/// A time since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::import) struct Time {
    pub(in crate::import) seconds: i64,
    /// Added to the seconds, also before the epoch.
    pub(in crate::import) nanoseconds: u32,
}

/// A part of a sparse file that is stored; the rest of the file are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) struct Extent {
    /// Where it begins in the file, in bytes.
    pub(in crate::import) offset: u64,
    /// How many bytes it has.
    pub(in crate::import) length: u64,
}

/// What a pax header says of the entry behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pax {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Names and values. Unlike that of a record, an empty value is a value.
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a pax header says of a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// The name of the file. That of the header is the name of the place in the tar.
    pub(super) name: Option<Vec<u8>>,
    /// The length of the file, if the header says it.
    pub(super) size: Option<i64>,
    pub(super) map: Map,
}

/// Where the map of a sparse file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Map {
    /// In the pax header: the forms 0.0 and 0.1.
    Here(Vec<Extent>),
    /// Before the file's content: the form 1.0.
    BeforeContent,
}

impl Pax {
    /// Reads all records. Of two records with one key the later wins. What a value means is asked of the entry only: the records
    /// may be those of none.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        // The form 0.0: a record for each number.
        let mut numbers = Vec::new();
        while !text.is_empty() {
            let (key, value, rest) =
                record(text).ok_or_else(|| "a pax record is malformed".to_owned())?;
            text = rest;
            if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                // The kernel has none, and so an engine refuses it.
                if name.is_empty() {
                    return Err("an extended attribute without a name".to_owned());
                }
                pax.xattrs.insert(name.to_vec(), value.to_vec());
                if pax.xattrs.len() > MOST_ATTRIBUTES {
                    return Err(format!("more than {MOST_ATTRIBUTES} extended attributes"));
                }
            } else if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                let is_offset = key == b"GNU.sparse.offset";
                if is_offset != numbers.len().is_multiple_of(2) || value.contains(&b',') {
                    return Err("an extent of a sparse file without an offset".to_owned());
                }
                numbers.push(value);
            } else if KEYS.contains(&key) {
                pax.records.insert(key.to_vec(), value.to_vec());
            }
        }
        if !numbers.is_empty() {
            pax.records.insert(MAP.to_vec(), numbers.join(&b','));
        }
        Ok(pax)
    }

    /// The value of a record. An empty value takes the key away.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let value = self.records.get(key.as_bytes())?;
        Some(value.as_slice()).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i64>, String> {
        let parse = |value: &[u8]| {
            let said = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
            decimal(value).ok_or_else(|| format!("{key} is {said:?} in a pax record"))
        };
        self.get(key).map(parse).transpose()
    }

    pub(super) fn time(&self, key: &str) -> Result<Option<Time>, String> {
        let parse =
            |value| time(value).ok_or_else(|| format!("the {key} of a pax record is no time"));
        self.get(key).map(parse).transpose()
    }

    /// The extended attributes, by name.
    pub(super) fn xattrs(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.xattrs.into_iter().collect()
    }

    /// What the records say of a sparse file; none if this is no sparse file. Go's archive/tar takes a file of an unknown version
    /// for a plain file (`readGNUSparsePAXHeaders`).
    pub(super) fn sparse(&self) -> Result<Option<Sparse>, String> {
        let map = match (self.get("GNU.sparse.major"), self.get("GNU.sparse.minor")) {
            (Some(b"0"), Some(b"0" | b"1")) => self.map()?,
            (Some(b"1"), Some(b"0")) => Map::BeforeContent,
            (None, None) if self.get("GNU.sparse.map").is_some() => self.map()?,
            _ => return Ok(None),
        };
        let key = match self.get("GNU.sparse.size") {
            Some(_) => "GNU.sparse.size",
            None => "GNU.sparse.realsize",
        };
        let name = self.get("GNU.sparse.name").map(<[u8]>::to_vec);
        Ok(Some(Sparse { name, size: self.number(key)?, map }))
    }

    /// The map of the forms 0.0 and 0.1: `offset,length,offset,length,…`.
    fn map(&self) -> Result<Map, String> {
        let count = self.number("GNU.sparse.numblocks")?.and_then(|n| usize::try_from(n).ok());
        let text = self.get("GNU.sparse.map");
        let numbers: Option<Vec<u64>> = text.map_or(Some(Vec::new()), |text| {
            let parse = |digits| u64::try_from(decimal(digits)?).ok();
            text.split(|&byte| byte == b',').map(parse).collect()
        });
        let (pairs, rest) = numbers.as_deref().unwrap_or_default().as_chunks::<2>();
        if numbers.is_none() || !rest.is_empty() || count != Some(pairs.len()) {
            return Err("a sparse file whose map is no list of as many pairs as it says".to_owned());
        }
        Ok(Map::Here(pairs.iter().map(|&[offset, length]| Extent { offset, length }).collect()))
    }
}

/// Splits the key and the value of the first record from the text behind the record.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space])?).ok()?;
    let whole = text.get(..length)?;
    let body = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let is_malformed = key.is_empty() || key.contains(&0) || (is_text && value.contains(&0));
    (!is_malformed).then_some((key, value, &text[length..]))
}

/// Reads `12`, `-12.5` or `12.123456789`; drops the digits beyond nanoseconds.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(if whole.starts_with('-') && nanoseconds > 0 {
        Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds }
    } else {
        Time { seconds, nanoseconds }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(key: &[u8], value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|n| n.to_string().len() + rest == *n).unwrap();
        [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
    }

    #[test]
    fn times_are_exact_on_both_sides_of_the_epoch() {
        let at = |text: &str| time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(at("12"), Some((12, 0)));
        assert_eq!(at("12.5"), Some((12, 500_000_000)));
        assert_eq!(at("12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(at("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(at("-0.5"), Some((-1, 500_000_000)));
        for bad in ["", ".", "1.x", "x", "1.-5", "9223372036854775808", "1e5"] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn records_that_are_none_are_refused() {
        let malformed: [&[u8]; 11] = [
            b"5 a=b\n",
            b"6 a=bc",
            b"x a=b\n",
            b"6 ab\n\n",
            b"99 a=b\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"5 =b\n",
            b"8 a\0b=c\n",
            b"10 path=\0\n",
            b" ",
        ];
        for bad in malformed {
            assert!(Pax::parse(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
        for (key, bad) in [("uid", "x"), ("gid", "9223372036854775808"), ("size", "0x5")] {
            let pax = Pax::parse(&line(key.as_bytes(), bad.as_bytes())).unwrap();
            assert!(pax.number(key).unwrap_err().contains(bad), "{key} {bad}");
        }
        assert!(Pax::parse(&line(b"atime", b"soon")).unwrap().time("atime").is_err());
    }

    #[test]
    fn attributes_of_one_entry_have_a_bound() {
        let text = |count: usize| -> Vec<u8> {
            (0..count)
                .flat_map(|n| line(format!("SCHILY.xattr.user.{n}").as_bytes(), b""))
                .collect()
        };
        assert_eq!(Pax::parse(&text(MOST_ATTRIBUTES)).unwrap().xattrs.len(), MOST_ATTRIBUTES);
        assert!(Pax::parse(&text(MOST_ATTRIBUTES + 1)).unwrap_err().contains("more than 1000"));
    }

    #[test]
    fn the_later_of_two_attributes_wins() {
        let of = |value: &[u8]| line(b"SCHILY.xattr.user.a", value);
        let pax = Pax::parse(&[of(b"1"), line(b"SCHILY.xattr.user.b", b"x"), of(b"2")].concat());
        let expected = [(b"user.a".to_vec(), b"2".to_vec()), (b"user.b".to_vec(), b"x".to_vec())];
        assert_eq!(pax.unwrap().xattrs(), expected);
    }

    proptest! {
        #[test]
        fn any_name_and_attribute_comes_back(
            path in proptest::collection::vec(1..=u8::MAX, 1..300),
            value in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let text = [line(b"path", &path), line(b"SCHILY.xattr.user.a=b", &value)].concat();
            let pax = Pax::parse(&text).unwrap();
            prop_assert_eq!(pax.get("path"), Some(path.as_slice()));
            // The key ends at the first equals sign, as Go's archive/tar has it.
            let whole = [b"b=", value.as_slice()].concat();
            prop_assert_eq!(pax.xattrs(), vec![(b"user.a".to_vec(), whole)]);
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&text).map(|pax| pax.sparse());
        }
    }
}
