//! device-mapper in the kernel.
//!
//! | file | its story |
//! |---|---|
//! | `calls.rs` | the ioctls: devices created, reloaded, removed, suspended, asked |
//! | `events.rs` | waiting for an event of a device |
//! | `device.rs` | a device and its table, as values |
//! | `error.rs` | a call that failed |

mod calls;
mod device;
mod error;
mod events;

pub(crate) use calls::{Kernel, Suspended};
pub(crate) use device::{Access, DevNumber, Device, Table};
pub use error::KernelError;
