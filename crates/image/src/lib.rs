//! Which image is this, and what its base holds.
//!
//! | file | story |
//! |---|---|
//! | `docker` | the image of a Docker container, from the daemon's own layer database |
//! | `overlay` | the image of any other overlay mount (containerd, CRI, podman) |
//! | `mountinfo` | the text of `/proc/self/mountinfo`, and of overlay's options in it |
//! | `live_restore` | whether Docker's daemon may restart under running containers |
//! | `source` | where an image was found, and whether it is still there |
//! | `doubt` | why an image stays unidentified |
//! | `init` | the files that an engine expects at the top of every root |
//! | `tree` | the layers and the init files as one tree |
//! | `import` | images from outside of any engine |
//! | `ext4` | the file system of a base, made from that tree |
//! | `shrink` | the file system of a snapshot that gets a size |
//! | `walk`, `tree_digest` | a whole tree in one order; its digest |
//! | `error` | why a base cannot be made |

mod docker;
mod doubt;
mod error;
mod ext4;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod import;
mod init;
mod live_restore;
mod mountinfo;
mod overlay;
mod shrink;
mod source;
#[cfg(test)]
mod testing;
mod tree;
mod tree_digest;
pub mod walk;

use std::fmt;
use std::path::{Path, PathBuf};

use sharedroot_format::{BaseKey, ChainId, Owner};

pub use doubt::Doubt;
pub use error::MakeError;
pub use ext4::{PLACES, check_filesystem, make_filesystem};
pub use import::{ImportError, Importable};
pub use init::InitFiles;
pub use live_restore::live_restore;
pub use shrink::shrink_filesystem;
pub use source::{Layer, Source};
pub use tree::{Tree, Usage, assemble};
pub use tree_digest::tree_digest;
pub use walk::WalkError;

/// An image as the layers that an engine stacked for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Names the base; equal keys mean equal bases.
    pub key: BaseKey,
    /// The chain ID, where the engine tells it.
    pub chain_id: Option<ChainId>,
    /// The layer directories, topmost first, absolute, without the engine's init layer.
    pub layers: Vec<PathBuf>,
    /// The container's own upper directory.
    pub upper: Option<Upper>,
    /// What the engine puts on top of the layers, and so the base too.
    pub init: InitFiles,
    /// The container's `/`. Its owner, who is the container's root user on the host, owns the init files, too.
    pub top: Top,
    /// Who told.
    pub source: Source,
}

/// The attributes of a container's `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    /// Its user and group.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: u32,
}

impl Top {
    /// What Docker gives to every container of a store that is not remapped, whatever the image says.
    pub const OF_DOCKER: Self = Self { owner: Owner::ROOT, mode: overlay::ROOT_MODE };
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a directory of mode {:o} of {}", self.mode, self.owner)
    }
}

/// The directory that takes what a container writes over its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The directory.
    pub path: PathBuf,
    /// Whether it holds nothing: the container is the image, and no more.
    pub empty: bool,
}

impl Upper {
    fn at(path: PathBuf) -> Result<Self, Doubt> {
        let empty = overlay::is_empty(&path)?;
        Ok(Self { path, empty })
    }
}

impl Image {
    /// What is known of the base `key`, whatever it was made from.
    #[must_use]
    pub fn of_base(key: BaseKey) -> Self {
        Self {
            key,
            chain_id: None,
            layers: Vec::new(),
            upper: None,
            init: InitFiles::MountPoints,
            top: Top::OF_DOCKER,
            source: Source::Base,
        }
    }
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

/// The upper directory of the overlay that is mounted at `root_path`, as its options name it, whether or not its image can
/// be told. None where that is not certain.
#[must_use]
pub fn upper_at(root_path: &Path) -> Option<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let mount = mountinfo::topmost(&table, root_path)?;
    let is_whole = mount.fstype == b"overlay" && mount.root == Path::new("/");
    is_whole.then(|| mountinfo::Stack::parse(&mount.options))??.upper
}

/// Whether what is mounted at `path` is an overlay that its mounter called `source`.
#[must_use]
pub fn is_overlay_of(path: &Path, source: &str) -> bool {
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return false };
    mountinfo::topmost(&table, path)
        .is_some_and(|mount| mount.fstype == b"overlay" && mount.source == source.as_bytes())
}
