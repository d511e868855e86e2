//! Where a pool's data and metadata are, and how much of both the pool uses.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::devices::measure;
use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::superblock::{self, Superblock};
use crate::units::Bytes;

/// The kind of a pool's backing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackingKind {
    /// Two files of this crate, attached to loop devices.
    Loop,
    /// Two block devices.
    Devices,
    /// A thin pool that LVM activates. The paths of data and metadata are both the pool's node.
    Lvm,
}

/// The files or devices of a pool's data and metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolBacking {
    pub(crate) kind: BackingKind,
    pub(crate) data: PathBuf,
    pub(crate) metadata: PathBuf,
}

/// How much of its data and metadata device a pool uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl PoolBacking {
    /// The backing that a new pool of this configuration gets.
    pub(crate) fn plan(config: &PoolConfig) -> Self {
        let file = |end| config.state_dir.join(format!("{}.{end}", config.name));
        match &config.backing {
            Backing::Loop { .. } => {
                Self { kind: BackingKind::Loop, data: file("data"), metadata: file("metadata") }
            }
            Backing::Devices { data, metadata } => {
                Self { kind: BackingKind::Devices, data: data.clone(), metadata: metadata.clone() }
            }
            Backing::Lvm(pool) => {
                Self { kind: BackingKind::Lvm, data: pool.node(), metadata: pool.node() }
            }
        }
    }

    /// The superblock of the metadata; `None` if the metadata is not a thin pool's.
    pub(crate) fn superblock(&self) -> Result<Option<Superblock>, Error> {
        let mut head = Vec::new();
        File::open(&self.metadata)
            .and_then(|file| file.take(superblock::BLOCK.0).read_to_end(&mut head))
            .map_err(Error::backing("read", &self.metadata))?;
        Ok(Superblock::parse(&head))
    }

    /// The present sizes of the files or devices.
    pub(crate) fn sizes(&self) -> Result<Sizes, Error> {
        let size = |path: &Path| match self.kind {
            BackingKind::Loop => {
                Ok(Bytes(fs::metadata(path).map_err(Error::backing("look at", path))?.len()))
            }
            BackingKind::Devices | BackingKind::Lvm => Ok(measure(path)?.1),
        };
        Ok(Sizes { data: size(&self.data)?, metadata: size(&self.metadata)? })
    }
}
