//! `pool`: the command line for the thin pool.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Size;

/// `pool`
#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Make the pool: on loop files, on two block devices, or on a thin pool of LVM
    ///
    /// Without options it is made as the configuration says.
    Create(PoolCreate),
    /// Activate the pool now, not on first use
    ///
    /// The metadata of a pool that was not deactivated is checked first.
    Activate,
    /// Unmount the bases and deactivate the pool
    ///
    /// Refused while a container uses it. Nothing is lost, and the next use activates the pool
    /// without a check of its metadata.
    Deactivate,
    /// Print how full the pool is; activates nothing
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// List the volumes that the store knows, half-created volumes too; activates nothing
    Inspect {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Make the pool larger while it is in use
    ///
    /// A pool on loop files gets the given sizes; without any its data grows by half. A pool on
    /// block devices takes no sizes: enlarge the devices, then run this.
    Grow(PoolGrow),
    /// Wait until the pool runs low, then grow its loop files; of devices only warn
    ///
    /// Runs in the foreground, for a service manager, and ends when the pool is deactivated.
    Watch,
    /// Check the metadata, also of a pool that is in use
    Check {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Repair the damaged metadata of an inactive pool, on a copy; the damaged one is kept
    Repair {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Give up the snapshot of a container that has ended, with what only it holds
    ///
    /// The container's next start begins with what its engine has.
    Drop {
        /// As `gc`, `pool inspect` and the messages name it
        #[arg(value_name = "VOLUME")]
        volume: String,
    },
    /// Delete the pool with every base and snapshot
    ///
    /// Refused while a container uses it.
    Destroy {
        /// Do it; without this only say what would be lost
        #[arg(long)]
        force: bool,
    },
}

// `pool create`
#[derive(Debug, Args)]
pub struct PoolCreate {
    /// Size of the sparse data file, such as 32G
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["data_dev", "metadata_dev", "lvm"])]
    pub loop_size: Option<Size>,
    /// Block device for data
    #[arg(long, value_name = "DEVICE", requires = "metadata_dev", conflicts_with = "lvm")]
    pub data_dev: Option<PathBuf>,
    /// Block device for metadata
    #[arg(long, value_name = "DEVICE", requires = "data_dev", conflicts_with = "lvm")]
    pub metadata_dev: Option<PathBuf>,
    /// Overwrite what the devices carry; never a device in use
    #[arg(long, conflicts_with_all = ["loop_size", "lvm"])]
    pub force: bool,
    /// Active, unused thin pool of LVM
    #[arg(long, value_name = "VG/LV")]
    pub lvm: Option<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

// `pool grow`
#[derive(Debug, Args)]
pub struct PoolGrow {
    /// New size of the data file, such as 64G
    #[arg(long, value_name = "SIZE")]
    pub data: Option<Size>,
    /// New size of the metadata file, such as 512M
    #[arg(long, value_name = "SIZE")]
    pub metadata: Option<Size>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}
