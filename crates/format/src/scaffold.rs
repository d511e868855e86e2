//! The name of a scaffold: a read-only overlay that adds missing mount points above a base.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digits::hex;
use crate::text_form;

/// The name of a scaffold, unique among the scaffolds of one base: 32 hexadecimal digits of the digest of what it adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScaffoldName(String);

/// The text is no name of a scaffold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scaffold's name (32 lower-case hexadecimal digits)")]
pub struct NotAScaffold(String);

impl ScaffoldName {
    /// The name of the scaffold; `digest` is the SHA-256 of what it adds.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(hex(&digest[..16]))
    }
}

impl fmt::Display for ScaffoldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ScaffoldName {
    type Err = NotAScaffold;

    fn from_str(text: &str) -> Result<Self, NotAScaffold> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let fine = digits && text.len() == 32;
        fine.then(|| Self(text.to_owned())).ok_or_else(|| NotAScaffold(text.to_owned()))
    }
}

text_form!(ScaffoldName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_digits_are_a_name() {
        let name = ScaffoldName::of_digest([0xab; 32]).to_string();
        assert_eq!(name, "ab".repeat(16));
        assert!(name.parse::<ScaffoldName>().is_ok());
        for bad in ["", "..", "../0123456789abcdef0123456789abc", &name[1..], &name.to_uppercase()]
        {
            assert!(bad.parse::<ScaffoldName>().is_err(), "{bad:?}");
            assert!(serde_json::from_str::<ScaffoldName>(&format!("{bad:?}")).is_err(), "{bad:?}");
        }
    }
}
