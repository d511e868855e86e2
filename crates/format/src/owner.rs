//! A user and a group of the host, as an id mapping names them.

use std::fmt;

/// A user and a group of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Owner {
    /// The host's own root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Prints `uid.gid`, as a Docker daemon with a remapped user namespace names its root directory.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid, self.gid)
    }
}

impl Owner {
    /// Reads `uid.gid`, in the exact form that `Display` prints; none for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once('.')?;
        let owner = Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        (owner.to_string() == text).then_some(owner)
    }
}
