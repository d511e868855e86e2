//! What is known of bases beyond their volumes: names that people gave, and the origin of each base.
//!
//! No container depends on the catalog. A base without an entry is never unwanted, and an entry without a base means nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sharedroot_format::text_form;
use sharedroot_format::{BaseKey, ChainId, Digest};
use sharedroot_image::{Image, Source};

/// A name that a base cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of an image: letters, digits and . _ - / : @, beginning with a letter or digit, at most 255"
)]
pub struct NameError(String);

/// A name that a person gave to a base, in the form of an image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let letter = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(letter)
            && text.len() <= 255;
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(300).collect()))
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(ImageName);

/// The origin of a base, and what the base held when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The chain ID of the image, if the image has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chain_id: Option<ChainId>,
    /// Where the image is stored.
    pub source: Source,
    /// The time at which the base was made, RFC 3339.
    pub made: String,
    /// The content of the base at that time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tree: Option<TreeFacts>,
}

/// The content of a base at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFacts {
    /// The digest of the whole tree.
    pub digest: Digest,
    /// The time at which the digest was taken, RFC 3339.
    pub taken: String,
    /// Whether the digest is of the tree that the base was made from. Otherwise it is of the base itself, and was taken later.
    pub from_source: bool,
}

impl Facts {
    /// The facts about a base that is made from `image` now.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        Self { chain_id: image.chain_id, source: image.source.clone(), made: now(), tree: None }
    }
}

impl TreeFacts {
    /// A digest that is taken now, of the tree that the base is made from.
    #[must_use]
    pub fn of_source(digest: Digest) -> Self {
        Self { digest, taken: now(), from_source: true }
    }

    /// A digest that is taken now, of the base itself.
    #[must_use]
    pub fn of_base(digest: Digest) -> Self {
        Self { digest, taken: now(), from_source: false }
    }
}

fn now() -> String {
    chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// The content of the whole file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The base of each name; a base may have several names.
    #[serde(default)]
    names: BTreeMap<ImageName, BaseKey>,
    #[serde(default)]
    bases: BTreeMap<BaseKey, Facts>,
}

impl Catalog {
    /// The names of a base.
    pub fn names_of<'a>(&'a self, key: &'a BaseKey) -> impl Iterator<Item = &'a ImageName> {
        self.names.iter().filter(move |(_, of)| *of == key).map(|(name, _)| name)
    }

    /// The facts about a base.
    #[must_use]
    pub fn facts(&self, key: &BaseKey) -> Option<&Facts> {
        self.bases.get(key)
    }

    /// The facts about all bases.
    pub fn all_facts(&self) -> impl Iterator<Item = &Facts> {
        self.bases.values()
    }

    /// Gives a name to a base. A base that had the name before loses it.
    pub fn name(&mut self, name: ImageName, key: &BaseKey) {
        self.names.insert(name, key.clone());
    }

    /// The facts about a base, for a change.
    pub fn facts_mut(&mut self, key: &BaseKey) -> Option<&mut Facts> {
        self.bases.get_mut(key)
    }

    /// Records the facts about a base.
    pub fn describe(&mut self, key: &BaseKey, facts: Facts) {
        self.bases.insert(key.clone(), facts);
    }

    /// Forgets a base and its names.
    pub fn forget(&mut self, key: &BaseKey) {
        self.bases.remove(key);
        self.names.retain(|_, of| of != key);
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_format::ChainId;

    use super::*;

    fn key(digit: char) -> BaseKey {
        let chain: ChainId = format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap();
        BaseKey::of_chain(&chain, None)
    }

    #[test]
    fn a_name_is_of_one_base_and_moves() {
        let mut catalog = Catalog::default();
        let name: ImageName = "debian:12".parse().unwrap();
        catalog.name(name.clone(), &key('a'));
        catalog.name(name.clone(), &key('b'));
        assert_eq!(catalog.names_of(&key('b')).collect::<Vec<_>>(), [&name]);
        assert_eq!(catalog.names_of(&key('a')).count(), 0);
    }

    #[test]
    fn names_are_those_of_images() {
        for good in ["a", "debian:12", "docker.io/library/debian@sha256:00", "A_b-c.d"] {
            assert!(good.parse::<ImageName>().is_ok(), "{good}");
        }
        for bad in ["", "-x", ":x", "a b", "ä", "a\n", &"a".repeat(256)] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Catalog>(r#"{"names": {"../x": "y"}}"#).is_err());
    }
}
