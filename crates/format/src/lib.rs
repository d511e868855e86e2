//! What sharedroot writes to disks: names, keys, digests, and the format of a base. Pure: nothing here asks the kernel.
//!
//! | module | story |
//! |---|---|
//! | `names` | names of pools and volumes, short enough for device-mapper |
//! | `key` | OCI's chain ID, and the key of a base |
//! | `digest`, `digits` | digests of content, and how a digest is written |
//! | `container_id` | the ID of a container, which is a file name |
//! | `volumes` | the name of the volume of each base and of each container |
//! | `lease` | who holds a lease of a base, and what for |
//! | `scaffold` | the name of a scaffold |
//! | [`base`] | the format of a base: what all hosts must agree on |
//! | [`json`] | JSON that others wrote |
//! | `text` | types that serde reads and writes as text |

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
