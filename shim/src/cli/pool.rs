//! `pool`: the flags for the thin pool.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Size;

// `pool`
#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Make the pool on loop files, on two block devices, or on a thin pool of LVM
    ///
    /// Without options, the pool is made as the configuration says.
    Create(PoolCreate),
    /// Activate the pool now, and not on first use
    ///
    /// If the pool was not deactivated, its metadata is checked first.
    Activate,
    /// Unmount the bases and deactivate the pool
    ///
    /// The command is refused while a container uses the pool. Nothing is lost, and the next use activates the pool
    /// without a check of its metadata.
    Deactivate,
    /// Print how full the pool is; does not activate the pool
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the volumes in the store, also half-created volumes; does not activate the pool
    Inspect {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the pool larger while containers use it
    ///
    /// A pool on loop files gets the given sizes. Without sizes its data grows by half. For a pool on block devices,
    /// enlarge the devices and run this command without sizes.
    Grow(PoolGrow),
    /// Wait until the pool runs low, then grow its loop files; for devices, only print a warning
    ///
    /// The command runs in the foreground, for a service manager, and ends when the pool is deactivated.
    Watch,
    /// Check the metadata, also of a pool in use
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Repair the damaged metadata of an inactive pool on a copy; the damaged metadata is kept
    Repair {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the snapshot of a container that has ended, and lose the changes that only the snapshot has
    ///
    /// The next start of the container begins with the content of its engine's rootfs.
    Drop {
        /// The snapshot's name, as `gc`, `pool inspect` and the messages print it
        #[arg(value_name = "VOLUME")]
        volume: String,
    },
    /// Delete the pool with every base and snapshot
    ///
    /// The command is refused while a container uses the pool.
    Destroy {
        /// Delete the pool; without this flag, only print what would be lost
        #[arg(long)]
        force: bool,
    },
}

// `pool create`
#[derive(Debug, Args)]
pub struct PoolCreate {
    /// The size of the sparse data file, such as 32G
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["data_dev", "metadata_dev", "lvm"])]
    pub loop_size: Option<Size>,
    /// The block device for data
    #[arg(long, value_name = "DEVICE", requires = "metadata_dev", conflicts_with = "lvm")]
    pub data_dev: Option<PathBuf>,
    /// The block device for metadata
    #[arg(long, value_name = "DEVICE", requires = "data_dev", conflicts_with = "lvm")]
    pub metadata_dev: Option<PathBuf>,
    /// Overwrite the data on the devices; a device in use is never overwritten
    #[arg(long, conflicts_with_all = ["loop_size", "lvm"])]
    pub force: bool,
    /// An active, unused thin pool of LVM
    #[arg(long, value_name = "VG/LV")]
    pub lvm: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

// `pool grow`
#[derive(Debug, Args)]
pub struct PoolGrow {
    /// The new size of the data file, such as 64G
    #[arg(long, value_name = "SIZE")]
    pub data: Option<Size>,
    /// The new size of the metadata file, such as 512M
    #[arg(long, value_name = "SIZE")]
    pub metadata: Option<Size>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
