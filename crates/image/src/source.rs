//! Where an image was found, which also tells whether its engine still has it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::unidentified::Unidentified;

/// Who told of an image, and what there is of it as long as it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "snake_case")]
pub enum Source {
    /// The layer database of a Docker daemon with the overlay2 graph driver.
    Docker {
        /// The database's directory of the topmost layer, `…/layerdb/sha256/CHAIN`.
        layer: PathBuf,
    },
    /// The overlay mount at a bundle's root path.
    Overlay {
        /// The layer directories, topmost first.
        layers: Vec<LayerIdentity>,
    },
    /// What `image import` read; it may be gone since.
    Import {
        /// The archive or directory.
        path: PathBuf,
    },
    /// A base that is there already and is itself the bundle's root. It is known by its mount only, so
    /// nothing is ever made from it.
    Base,
}

impl Source {
    /// Whether Docker's overlay2 driver mounted the root.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        matches!(self, Self::Docker { .. })
    }

    /// Whether the engine still has the image. A layer that came later to the same place is another.
    ///
    /// # Errors
    /// What reading gives, except that there is nothing.
    pub fn is_there(&self) -> io::Result<bool> {
        match self {
            Self::Base | Self::Import { .. } => Ok(true),
            Self::Docker { layer } => fs::exists(layer.join("cache-id")),
            Self::Overlay { layers } => {
                for layer in layers {
                    match LayerIdentity::at(&layer.path) {
                        Ok(found) if found == *layer => {}
                        Ok(_) | Err(Unidentified::NoIdentity { .. }) => return Ok(false),
                        Err(Unidentified::LayerStore { source, .. }) => match source.kind() {
                            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                                return Ok(false);
                            }
                            _ => return Err(source),
                        },
                        Err(doubt) => return Err(io::Error::other(doubt)),
                    }
                }
                Ok(true)
            }
        }
    }
}

/// What tells a layer directory from all others, past and future.
///
/// Not the device number: it changes over a reboot, and the same image would get a second base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerIdentity {
    path: PathBuf,
    inode: u64,
    /// Seconds and nanoseconds.
    birth: (i64, u32),
}

impl LayerIdentity {
    /// The layer in a directory.
    ///
    /// # Errors
    /// [`Unidentified`] where it cannot be told from a later one of the same name.
    pub fn at(path: &Path) -> Result<Self, Unidentified> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)
            .map_err(|e| Unidentified::LayerStore { path: path.to_owned(), source: e.into() })?;
        if stat.stx_mask & wanted.bits() != wanted.bits() {
            return Err(Unidentified::NoIdentity { layer: path.to_owned() });
        }
        let birth = (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
        Ok(Self { path: path.to_owned(), inode: stat.stx_ino, birth })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds it to the digest that names a base.
    pub(super) fn add_to(&self, hash: &mut Sha256) {
        hash.update(self.path.as_os_str().as_bytes()); // no NUL in a path
        let (seconds, nanoseconds) = self.birth;
        hash.update(format!("\0{}\0{seconds}.{nanoseconds:09}\0", self.inode));
    }
}
