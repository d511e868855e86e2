//! A lease of a base: who uses the base, and how.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::digits::hex;
use crate::{BaseKey, NotAScaffold, ScaffoldName};

/// One holder uses one base. `gc` and `image rm` keep a base that has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The base.
    pub base: BaseKey,
    /// How the holder uses the base.
    pub what: Use,
    /// The container that uses the base.
    pub holder: Holder,
    /// The container ID, for messages.
    pub name: String,
}

/// A container that holds a lease: 32 hexadecimal digits of the digest of the path of its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(String);

impl Holder {
    /// The container whose record is in the directory `dir`.
    #[must_use]
    pub fn of_record(dir: &Path) -> Self {
        Self(hex(&Sha256::digest(dir.as_os_str().as_encoded_bytes())[..16]))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no holder of a lease (32 lower-case hexadecimal digits)")]
pub struct NotAHolder(String);

impl FromStr for Holder {
    type Err = NotAHolder;

    fn from_str(text: &str) -> Result<Self, NotAHolder> {
        // Holders and scaffolds have names of one form.
        let name: Result<ScaffoldName, _> = text.parse();
        name.map(|name| Self(name.to_string())).map_err(|_| NotAHolder(text.to_owned()))
    }
}

/// How a container uses a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// A container runs on the base itself.
    Shared,
    /// A container runs on this scaffold above the base.
    Scaffold(ScaffoldName),
    /// A container runs on a snapshot of the base.
    Private,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::Scaffold(name) => name.fmt(f),
            Self::Private => f.write_str("private"),
        }
    }
}

impl FromStr for Use {
    type Err = NotAScaffold;

    fn from_str(text: &str) -> Result<Self, NotAScaffold> {
        match text {
            "shared" => Ok(Self::Shared),
            "private" => Ok(Self::Private),
            name => name.parse().map(Self::Scaffold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_one_container() {
        let of = |dir: &str| Holder::of_record(Path::new(dir));
        let one = of("/run/sharedroot/containers/1/c1");
        assert_eq!(one.to_string().parse(), Ok(one.clone()));
        assert_ne!(one, of("/run/sharedroot/containers/1/c2"));
        assert_ne!(one, of("/run/sharedroot/containers/2/c1"));
        for bad in ["", "..", "c1", &one.to_string()[1..]] {
            assert!(bad.parse::<Holder>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_use_reads_back() {
        for what in [Use::Shared, Use::Private, Use::Scaffold(ScaffoldName::of_digest([7; 32]))] {
            assert_eq!(what.to_string().parse(), Ok(what));
        }
        assert!("../shared".parse::<Use>().is_err());
    }
}
