//! What a pool lies on: loop files, block devices, or a thin pool of LVM.
//!
//! | file | its story |
//! |---|---|
//! | `place.rs` | where data and metadata are, and how much of both the pool uses |
//! | `create.rs` | a new pool's files and devices: claimed, created, removed when the creation fails |
//! | `connect.rs` | the block devices: loop files attached and detached |
//! | `files.rs` | loop files created and extended, and how large they may become |
//! | `devices.rs`, `signature.rs` | block devices, and the data that must not be overwritten |
//! | `loopback.rs` | loop devices |

mod connect;
mod create;
mod devices;
mod files;
mod loopback;
mod place;
pub(crate) mod signature;

pub(crate) use create::ExistingData;
pub(crate) use devices::open_unclaimed;
pub(crate) use place::{BackingKind, PoolBacking, Sizes};
