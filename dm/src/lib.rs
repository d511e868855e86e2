//! Thin pools, thin volumes and snapshots of device-mapper, and the store that keeps them consistent.
//!
//! [`Pool`] is the entry point. The crate knows nothing of containers, images, SELinux labels and mounts.
//!
//! ```no_run
//! use sharedroot_dm::{Bytes, Pool, PoolConfig, VolumeName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = PoolConfig::on_loop("default".parse()?, "/var/lib/sharedroot".into(), "/run/sharedroot".into());
//! // Creates the pool at its first use.
//! let pool = Pool::open(&config)?;
//!
//! let base: VolumeName = "base".parse()?;
//! let new = pool.create_volume(&base, Bytes::gib(1))?;
//! // Make a file system on `new.device()` and fill it here. A `new` that is dropped deletes the volume.
//! new.seal()?;
//!
//! let snapshot = pool.snapshot(&base, &"container".parse()?)?;
//! println!("mount {}", snapshot.keep()?.device.display());
//! # Ok(())
//! # }
//! ```
//!
//! | file | its story |
//! |---|---|
//! | `pool.rs`, `open.rs`, `activate.rs`, `shut_down.rs` | a pool opened, activated, deactivated, destroyed |
//! | `new_pool.rs`, `lvm.rs` | a pool created, or adopted from LVM |
//! | `check.rs`, `repair.rs`, `tools.rs` | a pool's metadata checked and repaired with thin-provisioning-tools |
//! | `grow.rs` | a pool made larger while it is in use |
//! | `metadata_snapshot.rs` | a pool's metadata read while it is in use |
//! | `new_volume.rs` | a new volume: created, filled by the caller, kept or deleted |
//! | `volumes.rs`, `volume_device.rs` | volumes activated, resized, deactivated; their devices |
//! | `seal.rs`, `mapped.rs` | a complete volume sealed; how much of the pool a volume takes |
//! | `delete.rs`, `deferred.rs` | volumes deleted, also while they are in use |
//! | `reconcile.rs`, `report.rs` | what a process that died has left behind |
//! | `transaction.rs` | one transaction of a pool: intent, act |
//! | `store/`, `lock.rs` | the durable tables; the locks and their order |
//! | `backing/`, `superblock.rs` | the files or devices that a pool lies on |
//! | `kernel/` | the calls of device-mapper |
//! | `users.rs` | who uses a device |
//! | `metadata_tree.rs` | the trees in a pool's metadata |
//! | `exclusive_blocks.rs`, `ioctl.rs` | which blocks only one snapshot has; blocks discarded |
//! | `failpoint.rs` | where the crash tests stop a process |
//! | `fuzz.rs` | what the fuzz targets call |
//! | `config.rs`, `names.rs`, `status.rs`, `table.rs`, `units.rs` | types of the caller's and of the kernel's words |
//! | `error.rs`, `remedy.rs` | what can fail; what a user does about it |
#![deny(unsafe_code)]

mod activate;
mod backing;
mod check;
mod config;
mod deferred;
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
mod mapped;
mod metadata_snapshot;
mod metadata_tree;
mod names;
mod new_pool;
mod new_volume;
mod open;
mod pool;
mod reconcile;
mod remedy;
mod repair;
mod report;
mod seal;
mod shut_down;
mod status;
mod store;
mod superblock;
mod table;
mod tools;
mod transaction;
mod units;
mod users;
mod volume_device;
mod volumes;

pub use config::{Backing, PoolConfig};
pub use deferred::Lingering;
pub use delete::Deleted;
pub use error::Error;
pub use kernel::KernelError;
pub use names::{LvmPool, ThinId};
pub use new_volume::NewVolume;
pub use pool::Pool;
pub use remedy::Remedy;
pub use repair::Repaired;
pub use report::{Reconcile, Report, TransactionIds};
pub use seal::Sealed;
pub use sharedroot_format::{NameError, PoolName, VolumeName};
pub use status::{Blocks, PoolMode, PoolStatus, StatusError};
pub use store::Phase;
pub use table::TableError;
pub use tools::ToolError;
pub use units::{Bytes, Percent};
pub use users::{Process, Searched, User, Users};
pub use volumes::{ActiveVolume, Volume};
