//! The merged tree that becomes a base: the layers of an image as a detached overlay, with the init files in a scratch upper
//! directory. Nothing is ever written to a layer.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;
use sharedroot_format::base::{BLOCK, TIMES};
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::init_layer;
use super::walk::{self, Attributes};
use crate::error::MakeError;
use crate::image::Image;
use crate::scratch::Scratch;
use crate::top::Top;

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

/// What the files of a tree take in a file system, without the metadata of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of content, in whole blocks of 4 KiB; holes take none.
    pub bytes: u64,
    /// The number of files and directories. Several names of one file count as one.
    pub inodes: u64,
}

/// What one walk over the tree finds.
#[derive(Debug)]
struct Count {
    usage: Usage,
    attributes: BTreeMap<PathBuf, Attributes>,
    /// The times after 2038, in seconds since 1970, which mke2fs cannot write.
    late: BTreeMap<PathBuf, i64>,
}

/// How many extended attributes and times after 2038 an image may have. Each is a command for debugfs, which searches the
/// directory for the name.
pub(super) const MOST_SPECIAL: usize = 20_000;
/// How many bytes their paths, names and values may have. They are in memory, in the commands for debugfs, and in files in
/// `/run` if they are long.
pub(super) const MOST_SPECIAL_BYTES: usize = 16 << 20;

/// The longest path of a base, in bytes. mke2fs (e2fsprogs 1.43 to 1.47) keeps the path of the current file in a buffer, and
/// at a path of 2,040 bytes it writes one byte past the end of the buffer: `path_append` in misc/create_inode.c counts the
/// `/`, but not the end of the text. mke2fs also calls itself for each directory in another.
const LONGEST_PATH: usize = 2000;

/// Counts the extended attributes and late times, which have a bound.
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

    /// Counts the files of the tree. A second call repeats the result without another walk.
    ///
    /// # Errors
    /// [`MakeError::Walk`]; [`MakeError::LongPath`], [`MakeError::Time`] and [`MakeError::Special`] if a base cannot hold a
    /// file.
    pub fn usage(&self) -> Result<Usage, MakeError> {
        Ok(self.count()?.usage)
    }

    /// The extended attributes of the files, by the paths of the files below the root.
    pub(super) fn attributes(&self) -> Result<&BTreeMap<PathBuf, Attributes>, MakeError> {
        Ok(&self.count()?.attributes)
    }

    /// The times of the files that were last changed after 2038, in seconds since 1970.
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

    /// The scratch directory of this image.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

/// Walks over the tree. Follows no symbolic link, and leaves neither the tree nor its mount.
///
/// This keeps a list of paths and calls itself never: an image may nest directories deeper than the stack, or the table of
/// descriptors, allows.
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
            // mke2fs visits every name of a file, and makes a new symbolic link for each name of a symbolic link.
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
            // A directory takes a block, also if it takes none in the file system of the layers.
            usage.bytes += allocated.max(u64::from(is_dir)).next_multiple_of(BLOCK);
            usage.inodes += 1;
        }
    }
    Ok(Count { usage, attributes, late })
}

/// Checks that mke2fs and ext4 take the path and the time of a file.
fn bounded(path: &Path, seconds: i64) -> Result<(), MakeError> {
    let path = path.strip_prefix(".").unwrap_or(path);
    // The length includes the `/` at the beginning.
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

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
