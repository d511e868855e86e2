//! The names that clients give to snapshots, within their bounds.

use std::fmt;
use std::str::FromStr;

/// The most bytes of a key or a name.
pub const MAX_KEY: usize = 4096;
/// The most bytes of the name of a snapshotter.
pub const MAX_SPACE: usize = 256;

/// Why a text is no name of a snapshot or a snapshotter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The text is empty.
    #[error("the {what} is empty")]
    Empty {
        /// What the text was to name.
        what: &'static str,
    },
    /// The text is too long.
    #[error("the {what} has {bytes} bytes, and {most} are the most")]
    Long {
        /// What the text was to name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The greatest length.
        most: usize,
    },
}

fn checked(what: &'static str, text: &str, most: usize) -> Result<Box<str>, BadName> {
    match text.len() {
        0 => Err(BadName::Empty { what }),
        bytes if bytes > most => Err(BadName::Long { what, bytes, most }),
        _ => Ok(text.into()),
    }
}

/// The name of a snapshot: the key of one that is written or viewed, the name of a committed one. Both kinds of names share one
/// space. containerd sends `NAMESPACE/NUMBER/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Whether an image is unpacked into the snapshot: containerd and Docker call it `extract-…`.
    #[must_use]
    pub fn is_extraction(&self) -> bool {
        self.0.rsplit('/').next().is_some_and(|last| last.starts_with("extract-"))
    }
}

impl FromStr for Key {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        checked("name of the snapshot", text, MAX_KEY).map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The name by which a client knows this snapshotter. Each such name has snapshots of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(Box<str>);

impl FromStr for Space {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        checked("name of the snapshotter", text, MAX_SPACE).map(Self)
    }
}

impl AsRef<str> for Space {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_bounds() {
        assert_eq!("".parse::<Key>(), Err(BadName::Empty { what: "name of the snapshot" }));
        assert!("k".repeat(MAX_KEY).parse::<Key>().is_ok());
        let long = "k".repeat(MAX_KEY + 1).parse::<Key>().unwrap_err().to_string();
        assert_eq!(long, "the name of the snapshot has 4097 bytes, and 4096 are the most");
        assert!(
            "".parse::<Space>().is_err() && "s".repeat(MAX_SPACE + 1).parse::<Space>().is_err()
        );
    }

    #[test]
    fn an_extraction_is_known_by_its_key() {
        let is = |key: &str| key.parse::<Key>().unwrap().is_extraction();
        assert!(is("moby/7/extract-1234-abcd sha256:00"));
        assert!(is("extract-1"));
        assert!(!is("moby/7/x-extract-1") && !is("extract-1/8/c1"));
    }
}
