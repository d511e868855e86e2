//! The merged tree that becomes a base: an image's layers as a detached overlay, with the init
//! files in a scratch upper directory. Nothing is ever written to a layer.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::overlay::ROOT_MODE;
use super::{Image, MakeError, Owner, init};
use crate::mount::{self, Detached};

/// The block size that [`Usage`] counts in, and that a base has.
pub(super) const BLOCK: u64 = 4096;

/// An image's layers and init files as one tree, mounted nowhere. It ends with this value.
#[derive(Debug)]
pub struct Tree {
    // Released from the top: the descriptor, the mount, then the directory below it.
    root: OwnedFd,
    _mount: Detached,
    _scratch: Scratch,
    owner: Owner,
    usage: OnceCell<Usage>,
}

/// What a tree takes in a file system, without that file system's own needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes, in whole blocks of 4 KiB; holes take none.
    pub bytes: u64,
    /// Files and directories; several names of one file are one.
    pub inodes: u64,
}

/// Merges the layers of `image` and adds its init files, with `scratch` to write to.
///
/// `scratch` is made, and must be this image's alone: what a killed predecessor left there is
/// removed first.
///
/// # Errors
/// [`MakeError::Layer`] for a damaged image, or what failed of the scratch, the mount, the files.
pub fn assemble(image: &Image, scratch: &Path) -> Result<Tree, MakeError> {
    for layer in &image.layers {
        let bad = |source| MakeError::Layer { path: layer.clone(), source };
        let stat = fs::symlink_metadata(layer).map_err(bad)?;
        if !stat.is_dir() {
            return Err(bad(io::ErrorKind::NotADirectory.into()));
        }
    }
    let scratch = Scratch::make(scratch, image.owner)?;
    let mount = mount::overlay(&image.layers, &scratch.upper(), &scratch.work())?;
    let root = open_beneath(mount.as_fd(), Path::new(".")).map_err(|source| MakeError::Walk {
        path: "/".into(),
        step: "open",
        source,
    })?;
    init::make(root.as_fd(), image.init, image.owner)?;
    Ok(Tree { root, _mount: mount, _scratch: scratch, owner: image.owner, usage: OnceCell::new() })
}

impl Tree {
    /// The top of the tree, open for reading.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Who owns the top of the tree.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether the image itself has `name` at its top.
    pub(super) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Counts the tree, once; a second call repeats the answer.
    ///
    /// # Errors
    /// [`MakeError::Walk`].
    pub fn usage(&self) -> Result<Usage, MakeError> {
        if let Some(usage) = self.usage.get() {
            return Ok(*usage);
        }
        let usage = count(self.root())?;
        Ok(*self.usage.get_or_init(|| usage))
    }
}

/// One walk that follows no link and leaves neither the tree nor its mount.
///
/// A list of paths instead of a recursion: an image may nest directories deeper than a stack or a
/// table of descriptors is.
fn count(root: BorrowedFd<'_>) -> Result<Usage, MakeError> {
    let mut usage = Usage { bytes: BLOCK, inodes: 1 };
    let mut seen = HashSet::new();
    let mut directories = vec![PathBuf::from(".")];
    while let Some(path) = directories.pop() {
        let failed = |step| {
            let path = path.clone();
            move |errno: Errno| MakeError::Walk { path, step, source: errno.into() }
        };
        let dir = open_beneath(root, &path).map_err(|source| MakeError::Walk {
            path: path.clone(),
            step: "open",
            source,
        })?;
        for entry in Dir::read_from(&dir).map_err(failed("read"))? {
            let entry = entry.map_err(failed("read"))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("stat a file of"))?;
            let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
            if is_dir {
                directories.push(path.join(OsStr::from_bytes(name.to_bytes())));
            } else if stat.st_nlink > 1 && !seen.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            let allocated = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            // A directory takes a block even where the layers' file system needs none for it.
            usage.bytes += allocated.max(u64::from(is_dir)).next_multiple_of(BLOCK);
            usage.inodes += 1;
        }
    }
    Ok(usage)
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// The writable half of the overlay, removed with this value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: &Path, owner: Owner) -> Result<Self, MakeError> {
        let failed = |step| move |source| MakeError::Scratch { step, path: path.into(), source };
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the old")(error));
            }
            _ => {}
        }
        let private = |recursive| {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).recursive(recursive);
            builder
        };
        if let Some(parent) = path.parent() {
            private(true).create(parent).map_err(failed("make the parent of"))?;
        }
        private(false).create(path).map_err(failed("make"))?;
        let scratch = Self(path.to_owned());
        private(false).create(scratch.work()).map_err(failed("make work/ in"))?;
        private(false).create(scratch.upper()).map_err(failed("make upper/ in"))?;
        // The merged root has the mode and owner of this directory, whatever the layers say.
        fs::set_permissions(scratch.upper(), Permissions::from_mode(ROOT_MODE))
            .and_then(|()| chown(scratch.upper(), Some(owner.uid), Some(owner.gid)))
            .map_err(failed("prepare upper/ in"))?;
        Ok(scratch)
    }

    fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.0.join("work")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("remove the scratch directory {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
