//! OCI's chain ID, which names a stack of layers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digits::{hex, unhex};
use crate::text_form;

/// A text that is no chain ID: not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a chain ID (sha256: and 64 lower-case hexadecimal digits)")]
pub struct NotAChainId(String);

/// OCI's chain ID: the hash of a stack of layers, `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainId(pub(crate) [u8; 32]);

impl ChainId {
    /// The first 12 hexadecimal digits, the short form for people.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// The chain ID of a stack of layers, the lowest first; none if there is no layer (image-spec: config.md, "Layer ChainID").
    #[must_use]
    pub fn of_layers(diff_ids: &[crate::Digest]) -> Option<Self> {
        let (lowest, above) = diff_ids.split_first()?;
        let chain = |below: Self, diff_id: &crate::Digest| {
            Self(Sha256::digest(format!("{below} {diff_id}")).into())
        };
        Some(above.iter().fold(Self(lowest.0), chain))
    }

    /// All 64 hexadecimal digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for ChainId {
    type Err = NotAChainId;

    fn from_str(text: &str) -> Result<Self, NotAChainId> {
        text.strip_prefix("sha256:")
            .and_then(unhex)
            .map(Self)
            .ok_or_else(|| NotAChainId(text.to_owned()))
    }
}

text_form!(ChainId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn only_one_text_is_a_chain_id() {
        let chain: ChainId = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(chain.short(), "001122334455");
        for bad in [
            HEX.to_owned(),
            format!("sha256:{}", &HEX[1..]),
            format!("sha256:{}", HEX.to_uppercase()),
            format!("sha256:{HEX}\n"),
            format!("sha512:{HEX}"),
            format!("sha256:{}é", &HEX[2..]),
            String::new(),
        ] {
            assert_eq!(bad.parse::<ChainId>(), Err(NotAChainId(bad.clone())));
        }
    }

    #[test]
    fn serde_cannot_make_a_bad_one() {
        assert!(serde_json::from_str::<ChainId>("\"sha256:../..\"").is_err());
    }

    proptest! {
        #[test]
        fn texts_and_values_are_one_to_one(digest: [u8; 32]) {
            let chain = ChainId(digest);
            prop_assert_eq!(chain.to_string().parse(), Ok(chain));
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = text.parse::<ChainId>();
        }
    }
}
