//! Thin pools, thin volumes and snapshots of device-mapper, and the store that keeps them consistent.
//!
//! [`Pool`] is the way in. The crate knows nothing of containers, images, labels and mounts.
//!
//! | file | its story |
//! |---|---|
//! | `pool.rs` | a pool found, measured, taken down |
//! | `new_pool.rs`, `lvm.rs` | a pool made, or taken over from LVM |
//! | `activate.rs`, `check.rs` | activated, after a look at its metadata; checked, repaired |
//! | `grow.rs` | made larger while it is in use |
//! | `metadata_snapshot.rs` | its metadata read while it is in use |
//! | `new_volume.rs` | a volume in the making, kept or gone |
//! | `volumes.rs` | volumes activated, grown, deactivated |
//! | `delete.rs` | volumes deleted, now or when their last user is gone |
//! | `reconcile.rs`, `report.rs` | what a process that died has left |
//! | `transaction.rs` | intent, act: one change of a pool |
//! | `store.rs`, `pool_row.rs`, `lock.rs` | the durable tables; the locks and their order |
//! | `backing.rs`, `signature.rs`, `superblock.rs`, `loopback.rs` | what a pool lies on |
//! | `kernel.rs` | the device-mapper calls |
//! | `users.rs` | who uses a device |
//! | `exclusive_blocks.rs`, `ioctl.rs` | which blocks a snapshot has of its own; blocks given back |
//! | `tools.rs` | thin_check and its siblings |
//! | `failpoint.rs` | where the crash tests stop a process |
//! | `fuzz.rs` | what the fuzz targets call |
//! | `table.rs`, `status.rs`, `names.rs`, `units.rs`, `config.rs`, `error.rs` | the words |
#![deny(unsafe_code)]

mod activate;
mod backing;
mod check;
mod config;
mod delete;
mod error;
mod exclusive_blocks;
mod failpoint;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod grow;
mod ioctl;
mod kernel;
mod lock;
mod lvm;
mod metadata_snapshot;
mod names;
mod new_pool;
mod new_volume;
mod pool;
mod reconcile;
mod report;
mod status;
mod store;
mod superblock;
mod table;
mod tools;
mod transaction;
mod units;
mod users;
mod volumes;

pub use check::Repaired;
pub use config::{Backing, PoolConfig};
pub use delete::Deleted;
pub use error::{Error, Remedy};
pub use kernel::KernelError;
pub use names::{LvmPool, ThinId};
pub use new_volume::NewVolume;
pub use pool::Pool;
pub use report::Report;
pub use sharedroot_format::{NameError, PoolName, VolumeName};
pub use status::{Blocks, PoolMode, PoolStatus, StatusError};
pub use store::Phase;
pub use table::TableError;
pub use tools::ToolError;
pub use units::{Bytes, Percent};
pub use users::{Process, User, Users};
pub use volumes::{ActiveVolume, Volume};
