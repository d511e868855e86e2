//! The records of a pax header: `LENGTH KEY=VALUE\n`, with any bytes in the value (POSIX, pax(1), "pax Extended Header").

use std::collections::BTreeMap;
use std::str::FromStr;

use tar::{EntryType, Header};

/// The most extended attributes of one entry. ext4 has room for some 200 of a file.
const MOST_ATTRIBUTES: usize = 1000;

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
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// What a pax header says of a sparse file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sparse {
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    map: Option<Vec<Extent>>,
}

/// Where the map of a sparse file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Map {
    /// In the pax header: the forms 0.0 and 0.1.
    Here(Vec<Extent>),
    /// Before the file's content: the form 1.0.
    BeforeContent,
}

impl Sparse {
    /// Where the map is, and the length of the file; none if this is no sparse file. Go's archive/tar takes a file of an unknown
    /// version for a plain file.
    pub(super) fn map(&mut self) -> Option<(Map, Option<u64>)> {
        let map = match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"0"), Some(b"0" | b"1")) => Map::Here(self.map.take().unwrap_or_default()),
            (Some(b"1"), Some(b"0")) => Map::BeforeContent,
            (None, None) => Map::Here(self.map.take()?),
            _ => return None,
        };
        Some((map, self.size.or(self.real_size)))
    }

    fn is_known(&self) -> bool {
        self.clone().map().is_some()
    }
}

impl Pax {
    /// Reads all records. Of two records with one key the later wins. An empty value takes the key away.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        let mut next_offset = None;
        let mut xattrs = BTreeMap::new();
        while !text.is_empty() {
            let (key, value, rest) =
                record(text).ok_or_else(|| "a pax record is malformed".to_owned())?;
            text = rest;
            let set = (!value.is_empty()).then_some(value);
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                if !name.is_empty() && !name.contains(&0) {
                    xattrs.insert(name, value);
                    if xattrs.len() > MOST_ATTRIBUTES {
                        return Err(format!("more than {MOST_ATTRIBUTES} extended attributes"));
                    }
                }
                continue;
            }
            match key {
                b"path" => pax.path = set.map(<[u8]>::to_vec),
                b"linkpath" => pax.link = set.map(<[u8]>::to_vec),
                b"size" => pax.size = number(key, set)?,
                b"uid" => pax.uid = number(key, set)?,
                b"gid" => pax.gid = number(key, set)?,
                b"mtime" => pax.mtime = set.map(time).transpose()?,
                b"GNU.sparse.major" => pax.sparse.major = set.map(<[u8]>::to_vec),
                b"GNU.sparse.minor" => pax.sparse.minor = set.map(<[u8]>::to_vec),
                b"GNU.sparse.name" => pax.sparse.name = set.map(<[u8]>::to_vec),
                b"GNU.sparse.size" => pax.sparse.size = number(key, set)?,
                b"GNU.sparse.realsize" => pax.sparse.real_size = number(key, set)?,
                b"GNU.sparse.map" => pax.sparse.map = set.map(map).transpose()?,
                b"GNU.sparse.offset" => next_offset = number(key, set)?,
                b"GNU.sparse.numbytes" => {
                    let (offset, length) = next_offset
                        .take()
                        .zip(number(key, set)?)
                        .ok_or("an extent of a sparse file without an offset")?;
                    pax.sparse.map.get_or_insert_default().push(Extent { offset, length });
                }
                _ => {}
            }
        }
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        pax.xattrs = xattrs.into_iter().map(owned).collect();
        Ok(pax)
    }
}

impl Pax {
    /// The name of a sparse file, whose `path` is that of the place in the tar.
    pub(super) fn sparse_name(&mut self, header: &Header) -> Option<Vec<u8>> {
        let is_ours = header.entry_type() != EntryType::GNUSparse && self.sparse.is_known();
        self.sparse.name.take().filter(|_| is_ours)
    }
}

/// Splits the key and the value of the first record from the text behind the record.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(21).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let whole = text.get(..length)?;
    let body = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &text[length..]))
}

fn number<T: FromStr>(key: &[u8], value: Option<&[u8]>) -> Result<Option<T>, String> {
    let parse = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
    value
        .map(|value| {
            let said = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
            let wrong = || format!("{} is {said:?} in a pax record", String::from_utf8_lossy(key));
            parse(value).ok_or_else(wrong)
        })
        .transpose()
}

/// Reads `12`, `-12.5` or `12.123456789`; drops the digits beyond nanoseconds.
fn time(text: &[u8]) -> Result<Time, String> {
    let parse = || {
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
    };
    parse().ok_or_else(|| "the mtime of a pax record is no time".to_owned())
}

/// Reads `offset,length,offset,length,…`.
fn map(text: &[u8]) -> Result<Vec<Extent>, String> {
    let parse = |text: &[u8]| -> Option<u64> { std::str::from_utf8(text).ok()?.parse().ok() };
    let numbers: Option<Vec<u64>> = text.split(|&byte| byte == b',').map(parse).collect();
    let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0);
    let numbers = numbers.ok_or("a sparse file whose map is no list of pairs")?;
    let extent = |pair: &[u64]| Extent { offset: pair[0], length: pair[1] };
    Ok(numbers.chunks_exact(2).map(extent).collect())
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
        let at = |text: &str| time(text.as_bytes()).ok().map(|t| (t.seconds, t.nanoseconds));
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
        for bad in
            [&b"5 a=b\n"[..], b"6 a=bc", b"x a=b\n", b"6 ab\n\n", b"99 a=b\n", b"0 a=b\n", b" "]
        {
            assert!(Pax::parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        for (key, bad) in [("uid", "-1"), ("gid", "4294967296"), ("size", "x"), ("mtime", "soon")] {
            assert!(Pax::parse(&line(key.as_bytes(), bad.as_bytes())).is_err(), "{key} {bad}");
        }
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
        assert_eq!(pax.unwrap().xattrs, expected);
    }

    proptest! {
        #[test]
        fn any_name_and_attribute_comes_back(
            path in proptest::collection::vec(any::<u8>(), 1..300),
            value in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let text = [line(b"path", &path), line(b"SCHILY.xattr.user.a=b", &value)].concat();
            let pax = Pax::parse(&text).unwrap();
            prop_assert_eq!(pax.path, Some(path));
            // The key ends at the first equals sign, as Go's archive/tar has it.
            let whole = [b"b=", value.as_slice()].concat();
            prop_assert_eq!(pax.xattrs, vec![(b"user.a".to_vec(), whole)]);
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&text);
        }
    }
}
