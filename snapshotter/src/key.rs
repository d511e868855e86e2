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

/// What containerd's name of a snapshot consists of: `NAMESPACE/NUMBER/KEY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'k> {
    /// The namespace of the client.
    pub namespace: &'k str,
    /// The client's own name of the snapshot; for a container it is the container's ID.
    pub key: &'k str,
}

impl Key {
    /// The parts; none if the name has another form.
    #[must_use]
    pub fn parts(&self) -> Option<Parts<'_>> {
        let mut parts = self.0.splitn(3, '/');
        let (namespace, number, key) = (parts.next()?, parts.next()?, parts.next()?);
        number.parse::<u64>().ok()?;
        (!namespace.is_empty() && !key.is_empty()).then_some(Parts { namespace, key })
    }

    /// Whether Docker makes its files at the top of a new container's root in this snapshot (moby, `prepareInitLayer`).
    #[must_use]
    pub fn is_docker_init(&self) -> bool {
        let id = self.parts().and_then(|parts| parts.key.strip_suffix("-init-key"));
        id.is_some_and(is_docker_id)
    }
}

/// Whether a text is the ID of a container as Docker makes it: 64 hexadecimal digits.
#[must_use]
pub fn is_docker_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
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
    fn a_name_of_containerds_has_parts() {
        let key = |text: &str| text.parse::<Key>().unwrap();
        let of = |text: &str| key(text).parts().map(|p| (p.namespace.to_owned(), p.key.to_owned()));
        assert_eq!(of("moby/7/c1"), Some(("moby".into(), "c1".into())));
        assert_eq!(of("moby/7/a/b c"), Some(("moby".into(), "a/b c".into())));
        for other in ["c1", "moby/c1", "moby/x/c1", "/7/c1", "moby/7/", "moby/-1/c1"] {
            assert_eq!(of(other), None, "{other}");
        }
        let id = "0a".repeat(32);
        assert!(key(&format!("moby/7/{id}-init-key")).is_docker_init());
        for other in [
            format!("{id}-init-key"),
            format!("moby/7/{id}"),
            format!("moby/7/{id}-init"),
            format!("moby/7/{}-init-key", &id[1..]),
            format!("moby/7/{}-init-key", id.to_uppercase()),
            format!("moby/7/x/{id}-init-key"),
        ] {
            assert!(!key(&other).is_docker_init(), "{other}");
        }
    }

    #[test]
    fn an_extraction_is_known_by_its_key() {
        let is = |key: &str| key.parse::<Key>().unwrap().is_extraction();
        assert!(is("moby/7/extract-1234-abcd sha256:00"));
        assert!(is("extract-1"));
        assert!(!is("moby/7/x-extract-1") && !is("extract-1/8/c1"));
    }
}
