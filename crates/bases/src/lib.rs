//! Bases, and what containers have of them: the only place where thin volumes, mounts and labels meet. Nothing here knows of
//! a runtime's command line, of its engine or of its records.
//!
//! | module | story |
//! |---|---|
//! | `config`, `bases` | what a configuration says of bases; where they are, and their pool, opened once |
//! | `base`, `base_lock`, `base_tree`, `import` | a base is made, mounted, read, removed |
//! | `catalog`, `names`, `origin` | what bases are called, and where they came from |
//! | `leases`, `containers` | who uses a base |
//! | `shared`, `missing`, `scaffold`, `skeleton` | the root of a read-only container |
//! | `private`, `overlaid`, `size`, `room` | the root of a writable container: a snapshot |
//! | `note`, `notice`, `earlier`, `writeback`, `changes`, `forgotten` | what a container changed, and what becomes of it |
//! | `labels` | the label of bases and scaffolds |
//! | `pool` | the pool as a whole |
//! | `prepared`, `not_shared` | why a container runs on the rootfs as given |
//! | `error`, `remedy` | why a root cannot be made or unmade |

mod base;
mod base_lock;
mod base_tree;
mod bases;
pub mod catalog;
pub mod changes;
mod config;
mod containers;
mod earlier;
mod error;
mod forgotten;
mod import;
mod labels;
mod leases;
mod missing;
mod names;
mod not_shared;
mod note;
mod notice;
mod origin;
mod overlaid;
mod pool;
mod prepared;
mod private;
mod remedy;
mod room;
mod scaffold;
mod shared;
mod size;
mod skeleton;
mod writeback;

pub use base_tree::BaseTree;
pub use bases::Bases;
pub use config::Config;
pub use containers::{Containers, ContainersError};
pub use earlier::Earlier;
pub use error::RootfsError;
pub use forgotten::{Fate, delete_forgotten};
pub use import::{Imported, Stage};
pub use labels::Mislabelled;
pub use leases::{LeaseError, Leases};
pub use missing::{Kind, Missing};
pub use names::Names;
pub use not_shared::NotShared;
pub use prepared::Prepared;
pub use private::{Place, Private, WrittenBack, prepare_private, release_private, save_so_far};
pub use shared::{Wanted, prepare_shared};
