//! Names of pools and volumes, short enough for device-mapper.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text_form;

/// The longest name of a pool, in bytes. With [`VOLUME_MAX`] a dm name has 11 + 32 + 1 + 80 bytes, and the kernel's `DM_NAME_LEN`
/// is 128.
const POOL_MAX: usize = 32;
/// The longest name of a volume, in bytes. `volumes.rs` makes names of longer parts fit.
pub(crate) const VOLUME_MAX: usize = 80;

/// Why a text is no name of a pool or volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("the {kind} name is empty")]
    Empty {
        /// `pool` or `volume`.
        kind: &'static str,
    },
    /// The text is too long for a dm name.
    #[error("the {kind} name {text:?} has {} bytes, and {max} is the most", text.len())]
    Long {
        /// `pool` or `volume`.
        kind: &'static str,
        /// The rejected text.
        text: String,
        /// The most bytes that a name may have.
        max: usize,
    },
    /// The text is no name of a thin pool of LVM.
    #[error("{text:?} is no thin pool of LVM; write VG/LV, as `lvs` shows the names")]
    Lvm {
        /// The rejected text.
        text: String,
    },
    /// The text has a character that a name must not have.
    #[error("the {kind} name {text:?} may have {allowed} and must begin with a letter or digit")]
    Character {
        /// `pool` or `volume`.
        kind: &'static str,
        /// The rejected text.
        text: String,
        /// The allowed characters.
        allowed: &'static str,
    },
}

/// The name of a thin pool: 1 to 32 of `[a-z0-9._]`, the first a letter or digit.
///
/// A name has no hyphen, because a hyphen ends the pool's part of a dm name. So the volume `b-c` of a pool `a` never has the
/// device of the volume `c` of a pool `a-b`.
///
/// ```
/// use sharedroot_format::{PoolName, VolumeName};
///
/// let pool: PoolName = "data".parse()?;
/// let volume: VolumeName = "private-1".parse()?;
/// assert_eq!(pool.device_of(&volume), "sharedroot-data-private-1");
/// assert!("da-ta".parse::<PoolName>().is_err());
/// # Ok::<(), sharedroot_format::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Box<str>);

/// The name of a thin volume: 1 to 80 of `[a-z0-9._-]`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(pub(crate) Box<str>);

impl VolumeName {
    /// The name of a volume that was deleted while its device was in use, by its thin id.
    #[must_use]
    pub fn deferred(thin_id: u32) -> Self {
        Self(format!("deleted.{thin_id}").into())
    }
}

/// What the names of one kind may have.
struct Rule {
    /// `pool` or `volume`.
    kind: &'static str,
    /// The most bytes.
    max: usize,
    /// The characters beside letters and digits.
    marks: &'static [u8],
    /// All characters, in words.
    allowed: &'static str,
}

const POOL: Rule =
    Rule { kind: "pool", max: POOL_MAX, marks: b"._", allowed: "a-z, 0-9, '.', '_'" };
const VOLUME: Rule =
    Rule { kind: "volume", max: VOLUME_MAX, marks: b"._-", allowed: "a-z, 0-9, '.', '_', '-'" };

impl Rule {
    fn check(&self, text: &str) -> Result<Box<str>, NameError> {
        let Self { kind, max, marks, allowed } = *self;
        if text.is_empty() {
            return Err(NameError::Empty { kind });
        }
        if text.len() > max {
            return Err(NameError::Long { kind, text: text.to_owned(), max });
        }
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = |c: u8| plain(c) || marks.contains(&c);
        if !text.bytes().all(fits) || !text.bytes().next().is_some_and(plain) {
            return Err(NameError::Character { kind, text: text.to_owned(), allowed });
        }
        Ok(text.into())
    }
}

impl FromStr for PoolName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        POOL.check(text).map(Self)
    }
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        VOLUME.check(text).map(Self)
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(VolumeName);

impl AsRef<str> for PoolName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for VolumeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PoolName {
    /// The device-mapper name of an active volume of this pool, as in `/dev/mapper`. By this name a mounted device is
    /// recognised without the store.
    #[must_use]
    pub fn device_of(&self, volume: &VolumeName) -> String {
        format!("sharedroot-{self}-{volume}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_must_not_be() {
        for text in ["", ".", "..", "-a", "a/b", "A", "a b", "a\n", "ä", &"a".repeat(33), "a-b"] {
            assert!(text.parse::<PoolName>().is_err(), "{text:?}");
        }
        for text in ["", "..", "-a", "a/b", "A", &"a".repeat(81)] {
            assert!(text.parse::<VolumeName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_names_fit_the_kernel() {
        let pool: PoolName = "p".repeat(POOL_MAX).parse().expect("a pool name");
        let volume: VolumeName = "v".repeat(VOLUME_MAX).parse().expect("a volume name");
        assert!(pool.device_of(&volume).len() < 128, "{volume}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_an_error(text in ".{0,100}") {
            if let Ok(name) = text.parse::<VolumeName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
