//! Mounts as values: a file system is mounted detached, and is nowhere in the mount table until it is attached.
//!
//! | file | story |
//! |---|---|
//! | `filesystem` | a new mount of a file system: of a block device, or in memory |
//! | `overlay` | a new mount of an overlay |
//! | `bind` | a new mount of what is mounted already |
//! | `detached` | a mount that is attached nowhere, and its way to a place |
//! | `shut_down` | an ext4 file system shut down under its users |
//! | `attached` | a mount at its place, and its removal |
//! | `namespace` | mount namespaces of this process and of one thread |
//! | `error` | what failed, and on what |
//!
//! A detached mount ends with its descriptor, so a killed process leaves none behind (fsopen(2), fsmount(2), open_tree(2),
//! move_mount(2); Linux 5.2). Each option goes to the kernel in a call of its own, so the commas of a label and the colons of a
//! path need no quoting.
//!
//! ```no_run
//! # use std::path::Path;
//! use sharedroot_sys::mount::{self, Access, Setting};
//!
//! # fn main() -> Result<(), mount::MountError> {
//! let device = Path::new("/dev/mapper/base");
//! let base = mount::block_device("ext4", device, Access::ReadOnly, &[Setting::Flag("noload")])?;
//! let attached = base.attach(Path::new("/run/base"))?; // unmounted when `attached` is dropped
//! attached.keep(); // from here on it stays
//! # Ok(())
//! # }
//! ```

mod attached;
mod bind;
mod detached;
mod error;
mod filesystem;
mod namespace;
mod overlay;
mod shut_down;

pub use attached::{Attached, detach, device_mounted_at};
pub use bind::{Submounts, bind, bind_volume};
pub use detached::Detached;
pub use error::MountError;
pub use filesystem::{Access, Setting, block_device, empty, tmpfs};
pub use namespace::{apart, enter_private_namespace};
pub use overlay::{UpperDirs, layers, long_overlay, overlay, upper_alone, upper_read_only};
pub use shut_down::shut_down_ext4;
