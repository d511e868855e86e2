//! What sharedroot writes to disks: names, keys, digests, and the format of a base. No function here makes a system call.
//!
//! | module | story |
//! |---|---|
//! | `names` | names of pools and volumes, short enough for device-mapper |
//! | `chain_id` | OCI's chain ID, which names a stack of layers |
//! | `key`, `owner` | the key of a base, and the id mapping in it |
//! | `digest`, `digits` | digests of content, and digests as text |
//! | `container_id` | the ID of a container, which is a file name |
//! | `volumes` | the names of the volumes of bases, snapshots and layers |
//! | `lease` | a lease of a base: who uses the base, and how |
//! | `scaffold` | the name of a scaffold |
//! | [`base`] | the format of a base, on which all hosts must agree |
//! | [`json`] | JSON that others wrote, and errors that quote no value |
//! | `text` | types that serde reads and writes as text |
//!
//! ```
//! use sharedroot_format::{BaseKey, ChainId, VolumeName};
//!
//! let chain: ChainId = format!("sha256:{}", "ab".repeat(32)).parse()?;
//! let key = BaseKey::of_chain(&chain, None);
//! assert_eq!(VolumeName::of_base(&key).base(), Some(key));
//! # Ok::<(), sharedroot_format::NotAChainId>(())
//! ```

pub mod base;
mod chain_id;
mod container_id;
mod digest;
mod digits;
pub mod json;
mod key;
mod lease;
mod names;
mod owner;
mod scaffold;
mod text;
mod volumes;

pub use chain_id::{ChainId, NotAChainId};
pub use container_id::{ContainerId, NotAContainerId};
pub use digest::{Digest, DigestError, Hashing};
pub use key::{BaseKey, NotAKey};
pub use lease::{Holder, Lease, NotAHolder, Use};
pub use names::{NameError, PoolName, VolumeName};
pub use owner::Owner;
pub use scaffold::{NotAScaffold, ScaffoldName};
pub use volumes::{NotATag, TableTag};
