//! Names that containerd gives to containers, execs and namespaces.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The longest name.
const MAX: usize = 76;

/// A container ID, an exec ID or a namespace by containerd's own rule (`identifiers.Validate`): letters and digits, with single
/// `-`, `_` and `.` between them, at most 76 bytes. So an ID is a file name and can never leave its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

/// A text that is no ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnId {
    /// The text is empty.
    #[error("an identifier must not be empty")]
    Empty,
    /// The text is too long.
    #[error("identifier {start:?}… has {length} bytes, more than {MAX}")]
    TooLong {
        /// The first characters of the text.
        start: String,
        /// The number of bytes of the text.
        length: usize,
    },
    /// The text has another form.
    #[error(
        "identifier {0:?} must be letters and digits with single '-', '_' and '.' between them"
    )]
    Form(String),
}

impl Id {
    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.is_empty() {
            return Err(NotAnId::Empty);
        }
        if text.len() > MAX {
            let start = text.chars().take(MAX / 4).collect();
            return Err(NotAnId::TooLong { start, length: text.len() });
        }
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !text.split(['-', '_', '.']).all(is_part) {
            return Err(NotAnId::Form(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn containerds_rule_decides() {
        let long = "a".repeat(MAX);
        for good in ["a", "default", "k8s.io", "moby", "a-b_c.d", "0f", &long] {
            assert_eq!(good.parse::<Id>().unwrap().to_string(), good);
        }
        let longer = "a".repeat(MAX + 1);
        for bad in ["", ".", "..", "a/b", "../a", "-a", "a-", "a--b", "a b", "é", "a\0", &longer] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_one_file_name(text in "[a-z./_\\-]{0,12}|\\PC{0,80}") {
            if let Ok(id) = text.parse::<Id>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!(!text.contains('/') && !text.starts_with('.') && !text.is_empty());
            }
        }
    }
}
