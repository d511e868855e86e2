//! The merged tree that becomes a base: the layers of an image as a detached overlay, with the init files in a scratch upper
//! directory. Nothing is ever written to a layer.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::AtFlags;
use sharedroot_sys::mount::{self, Detached};

use super::count::{Count, count, open_beneath};
use super::init_layer;
use crate::error::MakeError;
use crate::image::Image;
use crate::scratch::Scratch;
use crate::top::Top;
use crate::usage::Usage;

/// The layers and init files of an image as one tree, which is in no mount table. It ends with this value.
#[derive(Debug)]
pub struct Tree {
    // Released in this order: the descriptor, the mount, then the scratch directory of the mount.
    root: OwnedFd,
    _mount: Detached,
    scratch: Scratch,
    top: Top,
    count: OnceCell<Count>,
}

/// Merges the layers of `image`, and adds the init files in the scratch directory `scratch`.
///
/// This makes `scratch`, which must be of this image alone: it first removes what a killed process left there.
///
/// # Errors
/// [`MakeError::Layer`] for a damaged image; [`MakeError::Scratch`], [`MakeError::Mount`], [`MakeError::Init`].
pub fn assemble(image: &Image, scratch: &Path) -> Result<Tree, MakeError> {
    for layer in &image.layers {
        let bad = |cause| MakeError::Layer { path: layer.clone(), cause };
        let stat = fs::symlink_metadata(layer).map_err(bad)?;
        if !stat.is_dir() {
            return Err(bad(io::ErrorKind::NotADirectory.into()));
        }
    }
    let scratch = Scratch::make(scratch, image.top)?;
    let mount = mount::overlay(&image.layers, &scratch.upper(), &scratch.work())?;
    let root = open_beneath(mount.as_fd(), Path::new(".")).map_err(|source| MakeError::Walk {
        path: "/".into(),
        step: "open",
        source,
    })?;
    init_layer::make(root.as_fd(), image.init, image.top.owner)?;
    Ok(Tree { root, _mount: mount, scratch, top: image.top, count: OnceCell::new() })
}

impl Tree {
    /// The root of the tree, open for reading.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The attributes of the root of the tree.
    pub(super) fn top(&self) -> Top {
        self.top
    }

    /// Whether the tree has the name `name` in its root.
    pub(super) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Counts the files of the tree for a base of `size_bytes`. A second call repeats the result without another walk.
    ///
    /// # Errors
    /// [`MakeError::Walk`]; [`MakeError::TooLarge`], [`MakeError::LongPath`] and the other variants of which
    /// [`MakeError::is_of_the_image`] is true if a base cannot hold a file.
    pub fn usage(&self, size_bytes: u64) -> Result<Usage, MakeError> {
        Ok(self.count(size_bytes)?.usage)
    }

    /// The same, with what mke2fs leaves to debugfs.
    pub(super) fn count(&self, size_bytes: u64) -> Result<&Count, MakeError> {
        if let Some(count) = self.count.get() {
            return Ok(count);
        }
        let count = count(self.root(), size_bytes)?;
        Ok(self.count.get_or_init(|| count))
    }

    /// The scratch directory of this image.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
