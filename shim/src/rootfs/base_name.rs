//! The name of a base's thin volume: it leads back to the key, and is never too long for device-mapper.
//!
//! | key | volume |
//! |---|---|
//! | a digest, perhaps with a mapping, if that fits | `base-` and the key as it prints: 64 hexadecimal digits, perhaps `-uid.gid` |
//! | a longer one: both numbers of the mapping are long | `base-`, the digest in base 32 (RFC 4648, lower case: 52 characters), `-uid.gid` |
//!
//! The longest is 5 + 52 + 1 + 21 = 79 characters; a volume's name may have 80. Every name that an earlier version made is of
//! the first form: it could not make a longer one.

use sharedroot_dm::{NameError, VolumeName};

use crate::image::BaseKey;

/// What the names of bases' volumes begin with.
const BASE: &str = "base-";

/// The thin volume of the base of `key`.
///
/// # Errors
/// Never for what this makes; the type says so.
pub(super) fn volume_of(key: &BaseKey) -> Result<VolumeName, NameError> {
    let name = format!("{BASE}{key}").parse();
    name.or_else(|_too_long| format!("{BASE}{}", key.compact()).parse())
}

/// The key of the base whose thin volume this is, if it is one.
pub(super) fn key_of(volume: &VolumeName) -> Option<BaseKey> {
    let text = volume.as_ref().strip_prefix(BASE)?;
    let key = text.parse().ok().or_else(|| BaseKey::of_compact(text))?;
    // One base has one volume.
    (volume_of(&key).ok()? == *volume).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sharedroot_dm::PoolName;

    use super::*;
    use crate::image::{ChainId, Owner};

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
            assert_eq!(volume_of(&key(HEX, mapping)).unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_daemon_with_remapped_users_has_bases() {
        let key = key(HEX, Some((165_536, 165_536)));
        let name = volume_of(&key).unwrap();
        assert_eq!(key_of(&name), Some(key));
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
            // Half of them are of few digests, so that keys differ by their mapping only.
            digest in prop_oneof!["[0-9a-f]{64}", "[01]0{63}"],
            mapping in proptest::option::of((number(), number())),
        ) -> BaseKey {
            key(&digest, mapping)
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_volume_that_fits_and_leads_back(key in any_key()) {
            let name = volume_of(&key).unwrap();
            prop_assert!(fits(&name), "{name}");
            prop_assert_eq!(key_of(&name), Some(key));
        }

        #[test]
        fn different_keys_have_different_volumes(one in any_key(), other in any_key()) {
            prop_assert_eq!(one == other, volume_of(&one).unwrap() == volume_of(&other).unwrap());
        }

        #[test]
        fn a_volume_is_of_one_base_and_by_one_name(
            name in "(base-)?[0-9a-f]{64}(-[0-9]{1,7}\\.[0-9]{1,7})?|base-[a-z2-7]{52}-[0-9]{1,10}\\.[0-9]{1,10}"
        ) {
            if let Ok(name) = name.parse::<VolumeName>()
                && let Some(key) = key_of(&name)
            {
                prop_assert_eq!(volume_of(&key).unwrap(), name);
            }
        }
    }
}
