//! Thin pools, thin volumes and snapshots of device-mapper, and the store that keeps them consistent.
//!
//! [`Pool`] is the way in. The crate knows nothing of containers, images, labels and mounts.
//!
//! | file | its story |
//! |---|---|
//! | `pool.rs` | a pool found, made, activated, measured, taken down |
//! | `new_volume.rs` | a volume in the making, kept or gone |
//! | `volumes.rs` | volumes activated, deactivated, deleted |
//! | `reconcile.rs` | what a process that died has left |
//! | `change.rs` | intent, act: one change of a pool |
//! | `store.rs`, `lock.rs` | the durable table; the locks and their order |
//! | `media.rs`, `signature.rs`, `loopback.rs` | what a pool lies on |
//! | `kernel.rs` | the device-mapper calls |
//! | `tools.rs` | thin_check and its siblings |
//! | `failpoint.rs` | where the crash tests stop a process |
//! | `status.rs`, `names.rs`, `units.rs`, `config.rs`, `error.rs` | the words |
#![forbid(unsafe_code)]

mod change;
mod config;
mod error;
mod failpoint;
mod kernel;
mod lock;
mod loopback;
mod media;
mod names;
mod new_volume;
mod pool;
mod reconcile;
mod signature;
mod status;
mod store;
mod tools;
mod units;
mod volumes;

pub use config::{Backing, PoolConfig};
pub use error::Error;
pub use kernel::KernelError;
pub use names::{NameError, PoolName, ThinId, VolumeName};
pub use new_volume::NewVolume;
pub use pool::Pool;
pub use reconcile::Report;
pub use status::{Blocks, PoolMode, PoolStatus, StatusError};
pub use store::Phase;
pub use tools::ToolError;
pub use units::{Bytes, Percent};
pub use volumes::{ActiveVolume, Deleted, Volume};
