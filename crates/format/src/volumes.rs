//! The names of the thin volumes of bases and snapshots. The name of a base's volume leads back to the key of the base. No
//! name is too long for device-mapper.
//!
//! | what | volume |
//! |---|---|
//! | a base whose key fits | `base-` and the text of the key: 64 hexadecimal digits, with `fN-` before them for another format than the first, and `-uid.gid` after them for a mapping |
//! | a base of the first format whose key does not fit: both numbers of the mapping are long | `base-`, the digest in base 32 (RFC 4648, lower case: 52 characters), `-uid.gid` |
//! | a base of another format whose key does not fit | `base-fN-`, the digest in base 32, `-uid.gid` with 8 hexadecimal digits for each number |
//! | the snapshot of a container | `private-` and 32 hexadecimal digits of the digest of the state root and the container ID |
//! | a layer: a snapshot of containerd's | `layer-TAG-N`: the tag of the snapshotter's table, 8 hexadecimal digits, and the row's number in it |
//! | what a layer without a parent is a snapshot of | `empty-fN-SIZE`: an empty file system of this format and of SIZE bytes |
//!
//! The longest name has 5 + 5 + 52 + 1 + 17 = 80 characters, and a volume's name may have 80. Every name of a base that a
//! version without numbers of formats made (`base.rs`) leads back to a key of the first format.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::base::BaseFormat;
use crate::digits::hex;
use crate::names::VOLUME_MAX;
use crate::{BaseKey, VolumeName};

/// The beginning of the name of a base's volume.
const BASE: &str = "base-";
/// The beginning of the name of a snapshot.
const SNAPSHOT: &str = "private-";
/// The beginning of the name of a layer.
const LAYER: &str = "layer-";
/// The beginning of the name of an empty file system.
const EMPTY: &str = "empty-";

/// The tag of a snapshotter's table, so that two tables never name the same volume: 8 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableTag(u32);

impl TableTag {
    /// The tag of this number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self(number)
    }
}

/// A text that is no tag of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no tag of a table of snapshots, which has 8 hexadecimal digits")]
pub struct NotATag(String);

impl FromStr for TableTag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let tag = u32::from_str_radix(text, 16).map(Self).ok();
        tag.filter(|tag| tag.to_string() == text).ok_or_else(|| NotATag(text.to_owned()))
    }
}

impl fmt::Display for TableTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl VolumeName {
    /// The thin volume of the base of `key`.
    #[must_use]
    pub fn of_base(key: &BaseKey) -> Self {
        let name = format!("{BASE}{key}");
        let fits = name.len() <= VOLUME_MAX;
        Self(if fits { name } else { format!("{BASE}{}", key.compact()) }.into())
    }

    /// The key of the base that this volume holds; none if the name is not the name of a base's volume.
    #[must_use]
    pub fn base(&self) -> Option<BaseKey> {
        let text = self.as_ref().strip_prefix(BASE)?;
        let key = text.parse().ok().or_else(|| BaseKey::of_compact(text))?;
        // A base has one volume, so the other form of its name is no name of a base.
        (Self::of_base(&key) == *self).then_some(key)
    }

    /// The snapshot of the container `id` in the state root `root` (runc's `--root`). A container ID is unique in its state
    /// root only.
    #[must_use]
    pub fn of_snapshot(root: &Path, id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(root.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(id.as_bytes());
        Self(format!("{SNAPSHOT}{}", hex(&hash.finalize()[..16])).into())
    }

    /// The volume of a snapshot of containerd's: of the row `number` in the table with the tag.
    #[must_use]
    pub fn of_layer(tag: TableTag, number: u64) -> Self {
        Self(format!("{LAYER}{tag}-{number}").into())
    }

    /// The number of the row that the volume belongs to; none if it is no layer of the table with the tag.
    #[must_use]
    pub fn layer_of(&self, tag: TableTag) -> Option<u64> {
        let number = self.as_ref().strip_prefix(LAYER)?.strip_prefix(&tag.to_string())?;
        let number = number.strip_prefix('-')?.parse().ok()?;
        (Self::of_layer(tag, number) == *self).then_some(number)
    }

    /// Whether the name is that of a layer, of whatever table.
    #[must_use]
    pub fn is_layer(&self) -> bool {
        let tag = self.as_ref().strip_prefix(LAYER).and_then(|rest| rest.split_once('-'));
        let tag = tag.and_then(|(tag, _)| tag.parse().ok());
        tag.is_some_and(|tag| self.layer_of(tag).is_some())
    }

    /// The volume with an empty file system of `size` bytes.
    #[must_use]
    pub fn of_empty(size: u64) -> Self {
        Self(format!("{EMPTY}f{}-{size}", BaseFormat::CURRENT.number()).into())
    }

    /// Whether the name is that of an empty file system, of whatever size and format.
    #[must_use]
    pub fn is_empty_layer(&self) -> bool {
        self.as_ref().starts_with(EMPTY)
    }

    /// Whether the name is that of a snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.as_ref().starts_with(SNAPSHOT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ChainId, Owner, PoolName};

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn key(digest: &str, mapping: Option<(u32, u32)>) -> BaseKey {
        let chain: ChainId = format!("sha256:{digest}").parse().unwrap();
        BaseKey::of_chain(&chain, mapping.map(|(uid, gid)| Owner { uid, gid }))
    }

    #[test]
    fn a_base_of_an_earlier_version_keeps_its_name() {
        for (mapping, name) in [
            (None, format!("base-{HEX}")),
            (Some((0, 0)), format!("base-{HEX}-0.0")),
            (Some((10_000, 1000)), format!("base-{HEX}-10000.1000")),
        ] {
            assert_eq!(VolumeName::of_base(&key(HEX, mapping)).to_string(), name);
        }
    }

    #[test]
    fn a_daemon_with_remapped_users_has_bases() {
        let key = key(HEX, Some((165_536, 165_536)));
        let name = VolumeName::of_base(&key);
        assert_eq!(name.base(), Some(key));
    }

    /// The names that device-mapper takes have less than 128 bytes (`DM_NAME_LEN`).
    fn fits(name: &VolumeName) -> bool {
        let pool: PoolName = "p".repeat(32).parse().unwrap();
        pool.device_of(name).len() < 128
    }

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u32> {
        (any::<u32>(), 0..32_u32).prop_map(|(number, shift)| number >> shift)
    }

    prop_compose! {
        fn any_key()(
            // Half of the keys have one of few digests, so that some keys differ only by their mapping.
            digest in prop_oneof!["[0-9a-f]{64}", "[01]0{63}"],
            mapping in proptest::option::of((number(), number())),
            format in 1..=255_u8,
        ) -> BaseKey {
            let prefix = if format == 1 { String::new() } else { format!("f{format}-") };
            format!("{prefix}{}", key(&digest, mapping)).parse().unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_layer_leads_back_to_its_row(tag in any::<u32>(), other in any::<u32>(), number in any::<u64>(), size in any::<u64>()) {
            let name = VolumeName::of_layer(TableTag::new(tag), number);
            prop_assert_eq!(name.to_string().parse(), Ok(name.clone()));
            prop_assert!(fits(&name), "{name}");
            prop_assert_eq!(name.layer_of(TableTag::new(tag)), Some(number));
            prop_assert_eq!(name.layer_of(TableTag::new(other)), (tag == other).then_some(number));
            prop_assert!(name.base().is_none() && !name.is_snapshot() && name.is_layer());
            let longer: VolumeName = format!("{name}x").parse().unwrap();
            prop_assert!(!longer.is_layer());
            prop_assert_eq!(TableTag::new(tag).to_string().parse(), Ok(TableTag::new(tag)));
            let empty = VolumeName::of_empty(size);
            prop_assert_eq!(empty.to_string().parse(), Ok(empty.clone()));
            prop_assert!(fits(&empty) && empty.base().is_none() && !empty.is_layer());
            prop_assert!(empty.is_empty_layer() && !name.is_empty_layer());
        }

        #[test]
        fn a_text_is_a_tag_or_not(text in "[0-9a-fA-F+]{0,9}") {
            if let Ok(tag) = text.parse::<TableTag>() {
                prop_assert_eq!(tag.to_string(), text);
            }
        }

        #[test]
        fn every_key_has_a_volume_that_fits_and_leads_back(key in any_key()) {
            let name = VolumeName::of_base(&key);
            prop_assert_eq!(name.to_string().parse(), Ok(name.clone()));
            prop_assert!(fits(&name), "{name}");
            prop_assert_eq!(name.base(), Some(key));
        }

        #[test]
        fn different_keys_have_different_volumes(one in any_key(), other in any_key()) {
            prop_assert_eq!(one == other, VolumeName::of_base(&one) == VolumeName::of_base(&other));
        }

        #[test]
        fn a_volume_is_of_one_base_and_by_one_name(
            name in "(base-)?(f[0-9]{1,3}-)?[0-9a-f]{64}(-[0-9]{1,7}\\.[0-9]{1,7})?|base-(f[0-9]{1,3}-)?[a-z2-7]{52}-([0-9]{1,10}\\.[0-9]{1,10}|[0-9a-f]{8}\\.[0-9a-f]{8})"
        ) {
            if let Ok(name) = name.parse::<VolumeName>()
                && let Some(key) = name.base()
            {
                prop_assert_eq!(VolumeName::of_base(&key), name);
            }
        }
    }
}
