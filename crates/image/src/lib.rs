//! From a rootfs to its image, and from the image to the file system of a base.
//!
//! | file | story |
//! |---|---|
//! | `image`, `top` | an image, as it is known from one container; the attributes of its `/` |
//! | `identify` | the image of a rootfs |
//! | `docker` | the image of a Docker container, from the daemon's own layer database |
//! | `overlay` | the image of any other overlay mount (containerd, CRI, podman) |
//! | `overlay_options` | the options of an overlay in the mount table |
//! | `live_restore` | whether Docker's daemon may restart under running containers |
//! | `source` | where an image was found, and whether it is still there |
//! | `unidentified` | why an image stays unidentified |
//! | `docker_init_layer` | whether a layer of an overlay is the one in which Docker makes these files |
//! | `init_layer` | the files that an engine expects at the top of every root |
//! | `tree`, `scratch` | the layers and the init files as one tree; the directory that it writes to |
//! | `import` | images that no engine has |
//! | `ext4`, `debugfs`, `e2fsprogs` | the file system of a base, made from that tree |
//! | `empty` | a file system without files |
//! | `superblock` | whether a journal must be replayed |
//! | `shrink` | the file system of a snapshot, made smaller |
//! | `count`, `usage`, `directory_reads`, `linked` | the walk that counts its files: what they take, and whether a base is made of them |
//! | `walk`, `tree_digest` | a walk over a whole tree, and the digest of the tree |
//! | `waiting` | the names that wait for their turn in a walk |
//! | `error` | why a base cannot be made |
//!
//! ```no_run
//! # use std::path::Path;
//! use sharedroot_image::{assemble, identify, make_filesystem};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rootfs = Path::new("/var/lib/docker/overlay2/ID/merged");
//! let image = identify(rootfs, "CONTAINER")?;
//! let tree = assemble(&image, Path::new("/run/sharedroot/making"))?;
//! make_filesystem(&tree, &image.key, Path::new("/dev/mapper/base"), 10 << 30)?;
//! # Ok(())
//! # }
//! ```

mod count;
mod debugfs;
mod directory_reads;
mod docker;
mod docker_init_layer;
mod e2fsprogs;
mod empty;
mod error;
mod ext4;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod identify;
mod image;
pub mod import;
mod init_layer;
mod linked;
mod live_restore;
mod overlay;
mod overlay_options;
mod scratch;
mod shrink;
mod source;
mod superblock;
#[cfg(test)]
mod testing;
mod top;
mod tree;
mod tree_digest;
mod unidentified;
mod usage;
mod waiting;
pub mod walk;

pub use e2fsprogs::PLACES;
pub use empty::make_empty_filesystem;
pub use error::MakeError;
pub use ext4::{check_filesystem, make_filesystem};
pub use identify::{identify, is_overlay_of, upper_at};
pub use image::{Image, Upper};
pub use import::{ImportError, Importable};
pub use init_layer::{InitFiles, make_docker_init_files};
pub use live_restore::live_restore;
pub use shrink::shrink_filesystem;
pub use source::{LayerIdentity, Source};
pub use superblock::needs_replay;
pub use top::Top;
pub use tree::{Tree, assemble};
pub use tree_digest::tree_digest;
pub use unidentified::Unidentified;
pub use usage::Usage;
pub use walk::WalkError;
