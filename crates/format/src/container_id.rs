//! The ID of a container, which becomes the name of its files and directories.

use std::fmt;
use std::str::FromStr;

/// The longest ID; it becomes a file name with a suffix (NAME_MAX is 255).
const MAX_ID: usize = 200;

/// An ID that is no file name.
#[derive(Debug, thiserror::Error)]
#[error(
    "container ID {id:?} is not valid: use 1 to {MAX_ID} of the characters A-Z a-z 0-9 _ + - ."
)]
pub struct NotAContainerId {
    /// The beginning of the text that was given.
    id: String,
}

/// A container ID: a plain file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerId(String);

impl ContainerId {
    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the characters that runc allows.
impl FromStr for ContainerId {
    type Err = NotAContainerId;

    fn from_str(id: &str) -> Result<Self, NotAContainerId> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(plain) {
            return Err(NotAContainerId { id: id.chars().take(64).collect() });
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(2000)] {
            assert!(id.parse::<ContainerId>().is_err(), "{id:?}");
        }
        for id in ["x", "...", "a_b+c-d.e", &"f".repeat(64)] {
            assert_eq!(id.parse::<ContainerId>().unwrap().as_str(), id);
        }
    }
}
