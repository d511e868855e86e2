//! Where an image was found, and whether its engine still has it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::unidentified::Unidentified;

/// Where an image was found, with what exists as long as the engine has the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "snake_case")]
pub enum Source {
    /// The layer database of a Docker daemon with the overlay2 graph driver.
    Docker {
        /// The directory in the database of the topmost layer, `…/layerdb/sha256/CHAIN`.
        layer: PathBuf,
    },
    /// The overlay mount at a bundle's root path.
    Overlay {
        /// The layer directories, topmost first.
        layers: Vec<LayerIdentity>,
    },
    /// What `image import` read. It may be removed by now.
    Import {
        /// The archive or directory.
        path: PathBuf,
    },
    /// A base that exists and is the root of the bundle. Only its mount is known, so nothing is ever made from this image.
    Base,
}

impl Source {
    /// Whether the image was found in Docker's layer database.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        matches!(self, Self::Docker { .. })
    }

    /// Whether the engine still has the image. A new layer at the path of an old one is another layer.
    ///
    /// # Errors
    /// The error of reading the store. A file that does not exist is no error: the engine has removed the image.
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
                        Err(unidentified) => return Err(io::Error::other(unidentified)),
                    }
                }
                Ok(true)
            }
        }
    }
}

/// What tells a layer directory from all others, past and future: path, inode number and birth time.
///
/// The device number is no part of it: a device may have another number after a reboot, and an image would get a second base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerIdentity {
    path: PathBuf,
    inode: u64,
    /// When the directory was made: seconds and nanoseconds since 1970.
    birth: (i64, u32),
}

impl LayerIdentity {
    /// The identity of the layer in the directory `path`.
    ///
    /// # Errors
    /// [`Unidentified::NoIdentity`] if the file system keeps no birth times; [`Unidentified::LayerStore`].
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

    /// The path of the layer directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the identity to the digest that becomes the key of a base.
    pub(super) fn add_to(&self, hash: &mut Sha256) {
        hash.update(self.path.as_os_str().as_bytes()); // no NUL in a path
        let (seconds, nanoseconds) = self.birth;
        hash.update(format!("\0{}\0{seconds}.{nanoseconds:09}\0", self.inode));
    }
}
