//! Bases, and the roots that containers get from them: the only place where thin volumes, mounts and labels meet. No module of
//! this crate knows a runtime's command line, its engine or its records.
//!
//! | module | story |
//! |---|---|
//! | `config`, `bases` | the configuration of bases; their places, and their pool, opened once |
//! | `base`, `base_lock`, `base_tree`, `import`, `import_scratch` | a base is made, mounted, read, removed |
//! | `catalog`, `catalog_file`, `names`, `unwanted` | the names of bases, their origins, and which bases nobody wants |
//! | `leases`, `entries`, `containers` | which container uses a base |
//! | `shared`, `missing`, `scaffold`, `skeleton` | the root of a read-only container |
//! | `layer` | the volume of a layer, which is the snapshotter's, as a base |
//! | `snapshot_table`, `snapshots` | the snapshotter's table, as others read it; what its snapshots take, and what was left of them |
//! | `private`, `snapshot_lock`, `snapshot_mount`, `overlaid`, `size`, `room`, `lingering` | the root of a writable container: a snapshot |
//! | `note`, `notes`, `note_times`, `notice`, `changes`, `unsynced` | what a container changed |
//! | `earlier`, `release`, `writeback`, `exchange`, `forgotten` | where the changes go |
//! | `labels` | the label of bases and scaffolds |
//! | `pool` | the pool as a whole |
//! | `prepared`, `not_shared` | why a container runs on the engine's rootfs |
//! | `error`, `size_error`, `remedy` | why a root cannot be prepared or released |

mod base;
mod base_lock;
mod base_tree;
mod bases;
pub mod catalog;
mod catalog_file;
pub mod changes;
mod config;
mod containers;
mod earlier;
mod entries;
mod error;
mod exchange;
mod forgotten;
mod import;
mod import_scratch;
mod labels;
mod layer;
mod leases;
mod lingering;
mod missing;
mod names;
mod not_shared;
mod note;
mod note_times;
mod notes;
mod notice;
mod overlaid;
mod pool;
mod prepared;
mod private;
mod release;
mod remedy;
mod room;
mod scaffold;
mod shared;
mod size;
mod size_error;
mod skeleton;
mod snapshot_lock;
mod snapshot_mount;
mod snapshot_table;
mod snapshots;
mod unsynced;
mod unwanted;
mod writeback;

pub use base_tree::BaseTree;
pub use bases::Bases;
pub use catalog_file::{CatalogError, CatalogFile};
pub use config::Config;
pub use containers::{Containers, ContainersError};
pub use earlier::{Earlier, Kept};
pub use error::RootfsError;
pub use forgotten::{Fate, delete_forgotten};
pub use import::{Imported, Imports, Stage};
pub use labels::{Labels, Mislabelled};
pub use layer::LayerRoot;
pub use leases::{LeaseError, Leases};
pub use missing::{Kind, Missing};
pub use names::Names;
pub use not_shared::NotShared;
pub use prepared::Prepared;
pub use private::{Place, Private, prepare_private};
pub use release::{WrittenBack, release_private, save_so_far};
pub use scaffold::Scaffolds;
pub use shared::{Wanted, prepare_shared};
pub use size::fit;
pub use size_error::SizeError;
pub use snapshot_lock::SnapshotLock;
pub use snapshot_table::{
    FILE as SNAPSHOT_TABLE, SCHEMA as SNAPSHOT_SCHEMA, SnapshotKind, SnapshotName, SnapshotRow,
    SnapshotTable, SnapshotTableError,
};
pub use snapshots::{Needless, SnapshotFigures, SnapshotLeftovers};
pub use unwanted::Unwanted;
