//! What sharedroot writes to disks: names, keys, digests, and the format of a base. No function here makes a system call.
//!
//! | module | story |
//! |---|---|
//! | `names` | names of pools and volumes, short enough for device-mapper |
//! | `key` | OCI's chain ID, and the key of a base |
//! | `digest`, `digits` | digests of content, and digests as text |
//! | `container_id` | the ID of a container, which is a file name |
//! | `volumes` | the names of the volumes of bases and snapshots |
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
//! # Ok::<(), sharedroot_format::KeyError>(())
//! ```

pub mod base;
mod container_id;
mod digest;
mod digits;
pub mod json;
mod key;
mod lease;
mod names;
mod scaffold;
mod text;
mod volumes;

pub use container_id::{ContainerId, NotAContainerId};
pub use digest::{Digest, DigestError, Hashing};
pub use key::{BaseKey, ChainId, KeyError, Owner};
pub use lease::{Holder, Lease, NotAHolder, Use};
pub use names::{NameError, PoolName, VolumeName};
pub use scaffold::{NotAScaffold, ScaffoldName};
