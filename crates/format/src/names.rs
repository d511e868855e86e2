//! Names of pools and volumes, short enough for device-mapper.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text_form;

/// Longest pool name. With [`VOLUME_MAX`] the dm name stays below the kernel's `DM_NAME_LEN` of 128 bytes:
/// 11 + 32 + 1 + 80.
const POOL_MAX: usize = 32;
/// Longest volume name. What is made of longer parts is made shorter in `base_volume.rs`.
pub(crate) const VOLUME_MAX: usize = 80;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("the {kind} name is empty")]
    Empty {
        /// `pool` or `volume`.
        kind: &'static str,
    },
    /// The text is longer than a dm name has room for.
    #[error("the {kind} name {text:?} has {} bytes, and {max} is the most", text.len())]
    Long {
        /// `pool` or `volume`.
        kind: &'static str,
        /// The rejected text.
        text: String,
        /// The most bytes a name may have.
        max: usize,
    },
    /// The text does not name a thin pool of LVM.
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
/// No hyphen: it ends the pool's part of a volume's dm name, so that pool `a` with volume `b-c` and pool `a-b` with
/// volume `c` can never be one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Box<str>);

/// The name of a thin volume: 1 to 80 of `[a-z0-9._-]`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(pub(crate) Box<str>);

impl VolumeName {
    /// What a volume is called that was deleted while its device was in use, by its thin id.
    #[must_use]
    pub fn deferred(thin_id: u32) -> Self {
        Self(format!("deleted.{thin_id}").into())
    }
}

fn check(kind: &'static str, text: &str, max: usize, hyphen: bool) -> Result<Box<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > max {
        return Err(NameError::Long { kind, text: text.to_owned(), max });
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: u8| plain(c) || c == b'.' || c == b'_' || (hyphen && c == b'-');
    if !text.bytes().all(allowed) || !text.bytes().next().is_some_and(plain) {
        let allowed = if hyphen { "a-z, 0-9, '.', '_', '-'" } else { "a-z, 0-9, '.', '_'" };
        return Err(NameError::Character { kind, text: text.to_owned(), allowed });
    }
    Ok(text.into())
}

impl FromStr for PoolName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check("pool", text, POOL_MAX, false).map(Self)
    }
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check("volume", text, VOLUME_MAX, true).map(Self)
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
    /// The device-mapper name of one of the pool's volumes while it is active, as in `/dev/mapper`: by it a mounted
    /// device is recognised without the store.
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
