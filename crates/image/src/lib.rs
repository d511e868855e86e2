//! Which image is this, and what its base holds.
//!
//! | file | story |
//! |---|---|
//! | `image`, `top` | an image, as far as one container tells of it; the attributes of its `/` |
//! | `identify` | which image is this? |
//! | `docker` | the image of a Docker container, from the daemon's own layer database |
//! | `overlay` | the image of any other overlay mount (containerd, CRI, podman) |
//! | `mountinfo` | the text of `/proc/self/mountinfo`, and of overlay's options in it |
//! | `live_restore` | whether Docker's daemon may restart under running containers |
//! | `source` | where an image was found, and whether it is still there |
//! | `unidentified` | why an image stays unidentified |
//! | `init_layer` | the files that an engine expects at the top of every root |
//! | `tree` | the layers and the init files as one tree |
//! | `import` | images from outside of any engine |
//! | `ext4` | the file system of a base, made from that tree |
//! | `shrink` | the file system of a snapshot that gets a size |
//! | `walk`, `tree_digest` | a whole tree in one order; its digest |
//! | `error` | why a base cannot be made |

mod docker;
mod error;
mod ext4;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod identify;
mod image;
pub mod import;
mod init_layer;
mod live_restore;
mod mountinfo;
mod overlay;
mod shrink;
mod source;
#[cfg(test)]
mod testing;
mod top;
mod tree;
mod tree_digest;
mod unidentified;
pub mod walk;

pub use error::MakeError;
pub use ext4::{PLACES, check_filesystem, make_filesystem};
pub use identify::{identify, is_overlay_of, upper_at};
pub use image::{Image, Upper};
pub use import::{ImportError, Importable};
pub use init_layer::InitFiles;
pub use live_restore::live_restore;
pub use shrink::shrink_filesystem;
pub use source::{LayerIdentity, Source};
pub use top::Top;
pub use tree::{Tree, Usage, assemble};
pub use tree_digest::tree_digest;
pub use unidentified::Unidentified;
pub use walk::WalkError;
