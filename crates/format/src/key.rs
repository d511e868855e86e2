//! The key of a base.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::BaseFormat;
use crate::chain_id::ChainId;
use crate::digits::{base32, hex, unbase32, unhex};
use crate::names::VolumeName;
use crate::owner::Owner;
use crate::text_form;

/// A text that is not what [`BaseKey`] prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a base's key (64 lower-case hexadecimal digits, perhaps fN- before them and -uid.gid after)"
)]
pub struct NotAKey(String);

/// The identity of a base: the format of its file system, the digest of its content, and the ID mapping of the store that has
/// the image.
///
/// With another mapping the same layers have other owners, so each mapping has its own base. The text has 64 hexadecimal
/// digits. If there is a mapping, `-uid.gid` follows them. If the format is not the first, `fN-` is before them. The text has
/// at most 91 characters of `[a-z0-9.-]`, so it can be part of a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseKey {
    format: BaseFormat,
    digest: [u8; 32],
    mapping: Option<Owner>,
}

impl BaseKey {
    /// The format of the base's file system.
    #[must_use]
    pub fn format(&self) -> BaseFormat {
        self.format
    }

    /// The key of a chain ID in a store whose root user is `mapping`, for a base of the current format.
    #[must_use]
    pub fn of_chain(chain: &ChainId, mapping: Option<Owner>) -> Self {
        Self { format: BaseFormat::CURRENT, digest: chain.0, mapping }
    }

    /// The key of an image that has no chain ID, for a base of the current format. `digest` is the digest of what
    /// distinguishes the image from others.
    ///
    /// The digest is hashed once more. The chain ID of an image with one layer is the digest of bytes that the image's maker
    /// chose. But no layer is as short as the text that is hashed here, because a tar archive has whole blocks of 512 bytes; a
    /// list of chain ID and diff ID is longer, too. So no image can get a key of this kind as its chain ID.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"sharedroot base\0").chain_update(digest);
        let digest = hash.finalize().into();
        Self { format: BaseFormat::CURRENT, digest, mapping: None }
    }

    /// The key of the base that shows the volume of a layer, which is the snapshotter's. It is a key of this host alone.
    ///
    /// The text that is hashed is shorter than any layer, so no image can get a key of this kind as its chain ID.
    #[must_use]
    pub fn of_layer(layer: &VolumeName) -> Self {
        let hash = Sha256::new().chain_update(b"sharedroot layer\0").chain_update(layer.as_ref());
        Self { format: BaseFormat::CURRENT, digest: hash.finalize().into(), mapping: None }
    }

    /// The first 12 hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.digest[..6])
    }

    /// A shorter text for places that have too little room for [`Self::to_string`]: the digest in base 32, 52 characters. If
    /// there is a mapping, `-uid.gid` follows. If the format is not the first, `fN-` is before the digest, and uid and gid are
    /// 8 hexadecimal digits each. The text has at most 75 characters of `[a-z0-9.-]`.
    #[must_use]
    pub fn compact(&self) -> String {
        let mapping = match self.mapping {
            Some(mapping) if self.format == BaseFormat::FIRST => format!("-{mapping}"),
            Some(Owner { uid, gid }) => format!("-{uid:08x}.{gid:08x}"),
            None => String::new(),
        };
        format!("{}{}{mapping}", self.format.prefix(), base32(&self.digest))
    }

    /// Reads a text that [`Self::compact`] prints; none for any other text.
    #[must_use]
    pub fn of_compact(text: &str) -> Option<Self> {
        let (format, rest) = BaseFormat::split(text)?;
        let (digest, mapping) = match rest.split_once('-') {
            Some((digest, mapping)) if format == BaseFormat::FIRST => {
                (digest, Some(Owner::parse(mapping)?))
            }
            Some((digest, mapping)) => {
                let (uid, gid) = mapping.split_once('.')?;
                let number = |digits| u32::from_str_radix(digits, 16).ok();
                (digest, Some(Owner { uid: number(uid)?, gid: number(gid)? }))
            }
            None => (rest, None),
        };
        let key = Self { format, digest: unbase32(digest)?, mapping };
        (key.compact() == text).then_some(key)
    }

    /// A UUID that depends only on the key and on `purpose`, so that every host makes the same UUID.
    #[must_use]
    pub fn uuid(&self, purpose: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("sharedroot\0{purpose}\0{self}"));
        let mut id = <[u8; 32]>::from(hash.finalize());
        // RFC 9562, section 5.8: the application defines the content of version 8.
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        let part = |range| hex(&id[range]);
        [part(0..4), part(4..6), part(6..8), part(8..10), part(10..16)].join("-")
    }
}

impl fmt::Display for BaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.format.prefix(), hex(&self.digest))?;
        self.mapping.map_or(Ok(()), |mapping| write!(f, "-{mapping}"))
    }
}

impl FromStr for BaseKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bad = || NotAKey(text.to_owned());
        let (format, rest) = BaseFormat::split(text).ok_or_else(bad)?;
        let (digest, mapping) = match rest.split_once('-') {
            Some((digest, mapping)) => (digest, Some(Owner::parse(mapping).ok_or_else(bad)?)),
            None => (rest, None),
        };
        Ok(Self { format, digest: unhex(digest).ok_or_else(bad)?, mapping })
    }
}

text_form!(BaseKey);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn no_layer_has_the_key_of_an_image_without_a_chain_id() {
        let chosen = Sha256::digest("what a layer's maker chose");
        let layer: ChainId = format!("sha256:{}", hex(&chosen)).parse().unwrap();
        let other = BaseKey::of_digest(chosen.into());
        assert_ne!(BaseKey::of_chain(&layer, None), other);
        assert_eq!(other, BaseKey::of_digest(chosen.into()));
    }

    #[test]
    fn each_layer_has_a_key_of_its_own() {
        let key = |name: &str| BaseKey::of_layer(&name.parse().unwrap());
        assert_eq!(key("layer-00000001-1"), key("layer-00000001-1"));
        assert_ne!(key("layer-00000001-1"), key("layer-00000001-2"));
        let chosen: [u8; 32] = Sha256::digest("layer-00000001-1").into();
        assert_ne!(key("layer-00000001-1"), BaseKey::of_digest(chosen));
    }

    #[test]
    fn a_key_names_the_mapping_it_has() {
        let chain: ChainId = format!("sha256:{HEX}").parse().unwrap();
        let plain = BaseKey::of_chain(&chain, None);
        assert_eq!(plain.to_string(), HEX);
        let remapped = BaseKey::of_chain(&chain, Some(Owner { uid: 165_536, gid: 1 }));
        assert_eq!(remapped.to_string(), format!("{HEX}-165536.1"));
        assert_ne!(plain.uuid("volume"), remapped.uuid("volume"));
        assert_ne!(plain.uuid("volume"), plain.uuid("hash seed"));
        assert_eq!(plain.uuid("volume"), plain.uuid("volume"));
        for bad in ["", "-0.0", "x", &format!("{HEX}-"), &format!("{HEX}-1"), &format!("{HEX}-1.")]
        {
            assert!(bad.parse::<BaseKey>().is_err(), "{bad:?}");
        }
        // A digest whose beginning looks like the number of a format.
        for text in [format!("f{}", &HEX[1..]), format!("f2{}-1.1", &HEX[2..])] {
            assert_eq!(text.parse().map(|key: BaseKey| key.format()), Ok(BaseFormat::FIRST));
        }
        for bad in ["01.1", "+1.1", "1.1.1", "1.4294967296", "1.-1", " 1.1"] {
            assert!(format!("{HEX}-{bad}").parse::<BaseKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bases_of_two_formats_have_nothing_in_common() {
        let first = BaseKey::of_chain(&format!("sha256:{HEX}").parse().unwrap(), None);
        let second: BaseKey = format!("f2-{HEX}").parse().unwrap();
        assert_eq!(first.format(), BaseFormat::CURRENT);
        assert_eq!(
            (second.digest, second.format().to_string()),
            (first.digest, "flat-ext4 2".to_owned())
        );
        assert_ne!(first, second);
        assert_ne!(first.uuid("volume"), second.uuid("volume"));
        assert_ne!(first.compact(), second.compact());
        for bad in ["f-", "f0-", "f1-", "f02-", "f+2-", "f256-", "f 2-", "F2-", "f2-f2-", "f2"] {
            assert!(format!("{bad}{HEX}").parse::<BaseKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn serde_cannot_make_a_bad_one() {
        assert!(serde_json::from_str::<BaseKey>("\"../..\"").is_err());
        let key: BaseKey = serde_json::from_str(&format!("\"{HEX}-1.2\"")).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{HEX}-1.2\""));
    }

    proptest! {
        #[test]
        fn texts_and_values_are_one_to_one(
            digest: [u8; 32],
            format in 1..=255_u8,
            mapping in proptest::option::of(any::<(u32, u32)>()),
        ) {
            let chain = ChainId(digest);
            let mapping = mapping.map(|(uid, gid)| Owner { uid, gid });
            let prefix = if format == 1 { String::new() } else { format!("f{format}-") };
            let key = format!("{prefix}{}", BaseKey::of_chain(&chain, mapping));
            let key: BaseKey = key.parse().unwrap();
            let text = key.to_string();
            prop_assert_eq!(text.parse(), Ok(key.clone()));
            prop_assert!(text.len() <= 91);
            let compact = key.compact();
            prop_assert!(compact.len() <= 75);
            prop_assert_eq!(BaseKey::of_compact(&compact), Some(key));
            prop_assert!(text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-')));
        }

        #[test]
        fn whatever_is_compact_prints_the_same(text in "(f[0-9]{1,3}-)?[a-z2-7]{51}[aq](-[0-9]{1,3}\\.[0-9]{1,3}|-[0-9a-f]{8}\\.[0-9a-f]{8})?|[a-z2-7]{52}") {
            if let Some(key) = BaseKey::of_compact(&text) {
                prop_assert_eq!(key.compact(), text);
            }
        }

        #[test]
        fn whatever_parses_prints_the_same(text in "(f[0-9]{1,3}-)?[0-9a-f]{64}(-[0-9]{1,3}\\.[0-9]{1,3})?") {
            if let Ok(key) = text.parse::<BaseKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = text.parse::<BaseKey>();
            let _ = BaseKey::of_compact(&text);
        }
    }
}
