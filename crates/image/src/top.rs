//! The attributes of a container's `/`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fmt, fs, io};

use sharedroot_format::Owner;

use crate::unidentified::Unidentified;

/// The mode that Docker and containerd give to the upper directory of every container, and so to its `/`. The image has no
/// influence.
pub(super) const ROOT_MODE: u32 = 0o755;

/// The attributes of a container's `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    /// The user and the group that own it.
    pub owner: Owner,
    /// The permission bits.
    pub mode: u32,
}

impl Top {
    /// The attributes that Docker gives to the `/` of every container of a store without user remapping.
    pub const OF_DOCKER: Self = Self { owner: Owner::ROOT, mode: ROOT_MODE };
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a directory of mode {:o} of {}", self.mode, self.owner)
    }
}

impl Top {
    /// The attributes of the directory at `path`.
    pub(super) fn of(path: &Path) -> Result<Self, Unidentified> {
        let stat = fs::symlink_metadata(path).map_err(|e| unreadable(path, e))?;
        if !stat.is_dir() {
            return Err(unreadable(path, io::ErrorKind::NotADirectory.into()));
        }
        let owner = Owner { uid: stat.uid(), gid: stat.gid() };
        Ok(Self { owner, mode: stat.mode() & 0o7777 })
    }

    /// Checks that the directory, which will be a container's `/`, has the attributes that the base will have.
    pub(super) fn agrees_with(self, path: &Path) -> Result<(), Unidentified> {
        let found = Self::of(path)?;
        if found == self {
            return Ok(());
        }
        let [found, expected] = [found, self].map(|top| top.to_string());
        Err(Unidentified::Disagree { path: path.to_owned(), found, expected })
    }
}

fn unreadable(path: &Path, source: io::Error) -> Unidentified {
    Unidentified::LayerStore { path: path.to_owned(), source }
}
