//! What a pool lies on: loop files, block devices, or a thin pool of LVM.
//!
//! | file | its story |
//! |---|---|
//! | `place.rs` | where data and metadata lie, and how much of it the pool uses |
//! | `make.rs` | a new pool's files and devices: claimed, made, and taken back |
//! | `connect.rs` | the block devices: loop files attached and detached |
//! | `files.rs` | loop files made larger, and how large they may become |
//! | `devices.rs`, `signature.rs` | block devices, and what must not be overwritten on them |
//! | `loopback.rs` | loop devices |

mod connect;
mod devices;
mod files;
mod loopback;
mod make;
mod place;
pub(crate) mod signature;

pub(crate) use devices::open_unclaimed;
pub(crate) use make::ExistingData;
pub(crate) use place::{BackingKind, PoolBacking, Sizes};
