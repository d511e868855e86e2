//! The merged tree that becomes a base: an image's layers as a detached overlay, with the init
//! files in a scratch upper directory. Nothing is ever written to a layer.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;
use sharedroot_format::base::{BLOCK, TIMES};
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::init;
use super::walk::{self, Attributes};
use crate::error::MakeError;
use crate::image::Image;
use crate::top::Top;

/// An image's layers and init files as one tree, mounted nowhere. It ends with this value.
#[derive(Debug)]
pub struct Tree {
    // Released from the top: the descriptor, the mount, then the directory below it.
    root: OwnedFd,
    _mount: Detached,
    scratch: Scratch,
    top: Top,
    count: OnceCell<Count>,
}

/// What a tree takes in a file system, without that file system's own needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes, in whole blocks of 4 KiB; holes take none.
    pub bytes: u64,
    /// Files and directories; several names of one file are one.
    pub inodes: u64,
}

/// What one walk over the tree tells.
#[derive(Debug)]
struct Count {
    usage: Usage,
    attributes: BTreeMap<PathBuf, Attributes>,
    /// The seconds of what was last changed after 2038, which mke2fs cannot write down.
    late: BTreeMap<PathBuf, i64>,
}

/// How many extended attributes and times after 2038 an image may have: each is a command of debugfs's, which looks through
/// the directory for the name.
pub(super) const MOST_SPECIAL: usize = 20_000;
/// Bytes of their paths, names and values: they are in memory, in debugfs's commands and, if they are long, in files of `/run`.
pub(super) const MOST_SPECIAL_BYTES: usize = 16 << 20;

/// The bytes of a path that a base takes. mke2fs (e2fsprogs 1.43 to 1.47) keeps the path of the file it is at in a buffer, and
/// writes one byte past the buffer's end at a path of 2,040 bytes: `path_append` in misc/create_inode.c counts the `/` and
/// not the end of the text. It also calls itself for each directory below another.
const LONGEST_PATH: usize = 2000;

/// Counts what has a bound.
#[derive(Default)]
struct Special {
    number: usize,
    bytes: usize,
}

impl Special {
    fn add(&mut self, path: &Path, more: usize) -> Result<(), MakeError> {
        self.number += 1;
        self.bytes = self.bytes.saturating_add(path.as_os_str().len()).saturating_add(more);
        if self.number > MOST_SPECIAL || self.bytes > MOST_SPECIAL_BYTES {
            let (most, mib) = (MOST_SPECIAL, MOST_SPECIAL_BYTES >> 20);
            return Err(MakeError::Special { path: path.to_owned(), most, mib });
        }
        Ok(())
    }
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
    let scratch = Scratch::make(scratch, image.top)?;
    let mount = mount::overlay(&image.layers, &scratch.upper(), &scratch.work())?;
    let root = open_beneath(mount.as_fd(), Path::new(".")).map_err(|source| MakeError::Walk {
        path: "/".into(),
        step: "open",
        source,
    })?;
    init::make(root.as_fd(), image.init, image.top.owner)?;
    Ok(Tree { root, _mount: mount, scratch, top: image.top, count: OnceCell::new() })
}

impl Tree {
    /// The top of the tree, open for reading.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The attributes of its top.
    pub(super) fn top(&self) -> Top {
        self.top
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
        Ok(self.count()?.usage)
    }

    /// The files that have extended attributes, by their paths below the top.
    pub(super) fn attributes(&self) -> Result<&BTreeMap<PathBuf, Attributes>, MakeError> {
        Ok(&self.count()?.attributes)
    }

    /// The files that were last changed after 2038, and when.
    pub(super) fn late(&self) -> Result<&BTreeMap<PathBuf, i64>, MakeError> {
        Ok(&self.count()?.late)
    }

    fn count(&self) -> Result<&Count, MakeError> {
        if let Some(count) = self.count.get() {
            return Ok(count);
        }
        let count = count(self.root())?;
        Ok(self.count.get_or_init(|| count))
    }

    /// A directory of this image's own for what is made of it.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch.0
    }
}

/// One walk that follows no link and leaves neither the tree nor its mount.
///
/// A list of paths instead of a recursion: an image may nest directories deeper than a stack or a
/// table of descriptors is.
fn count(root: BorrowedFd<'_>) -> Result<Count, MakeError> {
    let mut usage = Usage { bytes: BLOCK, inodes: 1 };
    let (mut attributes, mut late) = (BTreeMap::new(), BTreeMap::new());
    let mut special = Special::default();
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
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_dir = kind.is_dir();
            let name = OsStr::from_bytes(name.to_bytes());
            // mke2fs goes to every name of a file, and makes a symbolic link anew for each of its names.
            bounded(&path.join(name), stat.st_mtime)?;
            if is_dir {
                directories.push(path.join(name));
            } else if !kind.is_symlink()
                && stat.st_nlink > 1
                && !seen.insert((stat.st_dev, stat.st_ino))
            {
                continue;
            }
            let allocated = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            let found = walk::attributes_of(Of::Link(&by_descriptor(&dir).join(name)));
            let found = found.map_err(|source| MakeError::Walk {
                path: path.join(name),
                step: "read the extended attributes of",
                source,
            })?;
            if stat.st_mtime > i64::from(i32::MAX) {
                special.add(&path.join(name), 0)?;
                late.insert(path.join(name), stat.st_mtime);
            }
            for (attribute, value) in &found {
                special.add(&path.join(name), attribute.len() + value.len())?;
            }
            if !found.is_empty() {
                attributes.insert(path.join(name), found);
            }
            // A directory takes a block even where the layers' file system needs none for it.
            usage.bytes += allocated.max(u64::from(is_dir)).next_multiple_of(BLOCK);
            usage.inodes += 1;
        }
    }
    Ok(Count { usage, attributes, late })
}

/// A file that mke2fs and ext4 take as it is.
fn bounded(path: &Path, seconds: i64) -> Result<(), MakeError> {
    let path = path.strip_prefix(".").unwrap_or(path);
    // With the `/` at its beginning.
    if path.as_os_str().len() >= LONGEST_PATH {
        return Err(MakeError::LongPath { path: path.to_owned(), most: LONGEST_PATH });
    }
    if !TIMES.contains(&seconds) {
        return Err(MakeError::Time { path: path.to_owned(), seconds });
    }
    Ok(())
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    Ok(Resolve::OneTree.open(root, path, flags)?)
}

/// The writable half of the overlay, removed with this value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: &Path, top: Top) -> Result<Self, MakeError> {
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
        chown(scratch.upper(), Some(top.owner.uid), Some(top.owner.gid))
            .and_then(|()| fs::set_permissions(scratch.upper(), Permissions::from_mode(top.mode)))
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
