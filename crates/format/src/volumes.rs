//! The names of the thin volumes of bases and snapshots. The name of a base's volume leads back to the key of the base. No
//! name is too long for device-mapper.
//!
//! | what | volume |
//! |---|---|
//! | a base whose key fits | `base-` and the text of the key: 64 hexadecimal digits, with `fN-` before them for another format than the first, and `-uid.gid` after them for a mapping |
//! | a base of the first format whose key does not fit: both numbers of the mapping are long | `base-`, the digest in base 32 (RFC 4648, lower case: 52 characters), `-uid.gid` |
//! | a base of another format whose key does not fit | `base-fN-`, the digest in base 32, `-uid.gid` with 8 hexadecimal digits for each number |
//! | the snapshot of a container | `private-` and 32 hexadecimal digits of the digest of the state root and the container ID |
//!
//! The longest name has 5 + 5 + 52 + 1 + 17 = 80 characters, and a volume's name may have 80. Every name of a base that a
//! version without numbers of formats made (`base.rs`) leads back to a key of the first format.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::digits::hex;
use crate::names::VOLUME_MAX;
use crate::{BaseKey, VolumeName};

/// The beginning of the name of a base's volume.
const BASE: &str = "base-";
/// The beginning of the name of a snapshot.
const SNAPSHOT: &str = "private-";

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
