//! Which image is this, and what its base holds.
//!
//! | file | story |
//! |---|---|
//! | `key` | the names: a chain ID, and the key of a base |
//! | `docker` | the image of a Docker container, from the daemon's own layer database |
//! | `overlay` | the image of any other overlay mount (containerd, CRI, podman) |
//! | `mountinfo` | the text of `/proc/self/mountinfo`, and of overlay's options in it |
//! | `doubt` | why an image stays unidentified |
//! | `init` | the files that an engine expects at the top of every root |
//! | `tree` | the layers and the init files as one tree |
//! | `ext4` | the file system of a base, made from that tree |
//! | `error` | why a base cannot be made |

mod docker;
mod doubt;
mod error;
mod ext4;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod init;
mod key;
mod mountinfo;
mod overlay;
#[cfg(test)]
mod testing;
mod tree;

use std::path::{Path, PathBuf};

pub use doubt::Doubt;
pub use error::MakeError;
pub use ext4::make_filesystem;
pub use init::InitFiles;
pub use key::{BaseKey, ChainId, KeyError, Owner};
pub use tree::{Tree, Usage, assemble};

/// An image as the layers that an engine stacked for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Names the base; equal keys mean equal bases.
    pub key: BaseKey,
    /// The chain ID, where the engine tells it.
    pub chain_id: Option<ChainId>,
    /// The layer directories, topmost first, absolute, without the engine's init layer.
    pub layers: Vec<PathBuf>,
    /// The container's own upper directory; it is empty.
    pub upper: Option<PathBuf>,
    /// What the engine puts on top of the layers, and so the base too.
    pub init: InitFiles,
    /// Who the container's root user is on the host; owns the root directory and the init files.
    pub owner: Owner,
    /// Who told.
    pub source: Source,
}

/// Where an image was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The layer database of a Docker daemon with the overlay2 graph driver.
    Docker,
    /// The overlay mount at the bundle's root path.
    Overlay,
}

/// Finds the image below `root_path`, the rootfs that an engine prepared for `container_id`.
///
/// Docker's layer database is asked first, because it costs the same however many mounts the host
/// has. Whatever is not there is looked up in the mount table.
///
/// # Errors
/// A [`Doubt`], never fatal: the rootfs is to be used as given, and the doubt logged.
pub fn identify(root_path: &Path, container_id: &str) -> Result<Image, Doubt> {
    match docker::identify(root_path, container_id) {
        Err(Doubt::NotADockerRootfs { .. }) => overlay::identify(root_path),
        found_or_doubt => found_or_doubt,
    }
}

/// An image for tests that need any.
#[cfg(test)]
pub(crate) fn example() -> Image {
    testing::image(vec!["/layers/2/diff".into(), "/layers/1/diff".into()])
}
