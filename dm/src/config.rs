//! What a caller of this crate configures.

use std::path::PathBuf;

use sharedroot_format::PoolName;

use crate::names::LvmPool;
use crate::units::{Bytes, Percent};

/// What a new pool is created on. A pool that exists keeps what it was created on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// Two sparse files in the state directory, attached to loop devices.
    Loop {
        /// Size of the data file, sparse. It gets at most 80 % of the free space of the file system.
        data: Bytes,
        /// Size of the metadata file, allocated at once.
        metadata: Bytes,
    },
    /// Two block devices. Give names that survive a reboot, such as those in `/dev/disk/by-id`.
    Devices {
        /// The device for the data.
        data: PathBuf,
        /// The device for the metadata.
        metadata: PathBuf,
    },
    /// A thin pool that LVM created and activates. LVM must not have volumes in the pool.
    Lvm(LvmPool),
}

impl Backing {
    /// 32 GiB for data and 64 MiB for metadata. Both files grow when the pool runs low.
    pub const fn default_loop() -> Self {
        Self::Loop { data: Bytes::gib(32), metadata: Bytes::mib(64) }
    }
}

/// A pool's name, its directories, and how a new pool is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The pool's name.
    pub name: PoolName,
    /// Holds the store and the loop files, usually `/var/lib/sharedroot`.
    pub state_dir: PathBuf,
    /// Holds the locks, usually `/run/sharedroot`. Must be empty after a reboot, so it is on a tmpfs.
    pub run_dir: PathBuf,
    /// What a new pool is created on.
    pub backing: Backing,
    /// The size of a data block of a new pool: a multiple of 64 KiB, up to 1 GiB (thin-provisioning.rst, "data_block_size").
    pub block: Bytes,
    /// A pool whose data or metadata is used to this share refuses a new volume. Loop files grow before that.
    pub fill_limit: Percent,
}

impl PoolConfig {
    /// A pool on loop files with blocks of 64 KiB, which refuses new volumes when it is 90 % full.
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
