//! What a caller says about a pool.

use std::path::PathBuf;

use sharedroot_format::PoolName;

use crate::names::LvmPool;
use crate::units::{Bytes, Percent};

/// What a new pool is made on. A pool that exists already keeps what it was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// Two sparse files in the state directory, attached to loop devices.
    Loop {
        /// Size of the data file; at most 80 % of what the file system has free.
        data: Bytes,
        /// Size of the metadata file.
        metadata: Bytes,
    },
    /// Two block devices. Give names that survive a reboot, such as those in `/dev/disk/by-id`.
    Devices {
        /// The device for the data.
        data: PathBuf,
        /// The device for the metadata.
        metadata: PathBuf,
    },
    /// A thin pool that LVM made and activates, without volumes of LVM's own.
    Lvm(LvmPool),
}

impl Backing {
    /// 32 GiB for data, sparse, and 64 MiB for metadata; both grow.
    pub const fn default_loop() -> Self {
        Self::Loop { data: Bytes::gib(32), metadata: Bytes::mib(64) }
    }
}

/// A pool's name, its places and how it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The pool's name.
    pub name: PoolName,
    /// Holds the store and the loop files, usually `/var/lib/sharedroot`.
    pub state_dir: PathBuf,
    /// Holds the locks, usually `/run/sharedroot`; must be empty after a reboot, so a tmpfs.
    pub run_dir: PathBuf,
    /// What a new pool is made on.
    pub backing: Backing,
    /// The data block of a new pool: 64 KiB to 1 GiB, a multiple of 64 KiB.
    pub block: Bytes,
    /// A pool fuller than this, in data or in metadata, takes no new volume. Loop files grow before.
    pub fill_limit: Percent,
}

impl PoolConfig {
    /// A pool on loop files, 64 KiB blocks, refused when 90 % full.
    pub fn on_loop(name: PoolName, state_dir: PathBuf, run_dir: PathBuf) -> Self {
        let fill_limit = Percent::new(90).expect("90 is a percentage");
        Self {
            name,
            state_dir,
            run_dir,
            backing: Backing::default_loop(),
            block: Bytes::kib(64),
            fill_limit,
        }
    }
}
