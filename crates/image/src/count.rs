//! One walk over the tree that becomes a base: what its files take, and what mke2fs leaves to debugfs. All that an image can
//! make many of has a bound here, in memory and in the time that the programs take.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;
use sharedroot_format::base::{BLOCK, TIMES};
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::directory_reads::{Directory, DirectoryReads};
use super::linked::{Linked, MOST_NAMES_OF_A_FILE};
use super::usage::{Usage, extent_tree};
use super::waiting::{NameCount, Waiting};
use super::walk::{self, Attributes};
use crate::error::MakeError;

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

/// How many directories a directory may have: with its own name and `.` it has as many names as ext4 gives to a file. mke2fs
/// counts all of them in 16 bits (see `linked`), and does not write the 1 with which ext4 says that there are more.
const MOST_IN_A_DIRECTORY: usize = MOST_NAMES_OF_A_FILE as usize - 2;

/// What one walk over the tree finds.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) usage: Usage,
    /// The extended attributes of the files, by the paths of the files below the root.
    pub(super) attributes: BTreeMap<PathBuf, Attributes>,
    /// The times after 2038, in seconds since 1970, which mke2fs cannot write.
    pub(super) late: BTreeMap<PathBuf, i64>,
}

/// Walks over the tree. Follows no symbolic link, and leaves neither the tree nor its mount.
///
/// This calls itself never: an image may nest directories deeper than the stack, or the table of descriptors, allows. The walk
/// ends as soon as the inodes alone are more than a base of `size_bytes` can hold.
pub(super) fn count(root: BorrowedFd<'_>, size_bytes: u64) -> Result<Count, MakeError> {
    Counter::new(size_bytes).run(root)
}

/// The walk, with what it counts.
struct Counter {
    size_bytes: u64,
    found: Count,
    waiting: Waiting,
    names: NameCount,
    special: Special,
    reads: DirectoryReads,
    linked: Linked,
    most_in_a_directory: usize,
}

impl Counter {
    fn new(size_bytes: u64) -> Self {
        let usage = Usage { bytes: 0, inodes: 1 };
        Self {
            size_bytes,
            found: Count { usage, attributes: BTreeMap::new(), late: BTreeMap::new() },
            waiting: Waiting::default(),
            names: NameCount::default(),
            special: Special::default(),
            reads: DirectoryReads::default(),
            linked: Linked::default(),
            most_in_a_directory: MOST_IN_A_DIRECTORY,
        }
    }

    fn run(mut self, root: BorrowedFd<'_>) -> Result<Count, MakeError> {
        loop {
            self.directory(root)?;
            if !self.waiting.go_on() {
                return Ok(self.found);
            }
        }
    }

    /// Counts the directory where the walk is, and what is in it.
    fn directory(&mut self, root: BorrowedFd<'_>) -> Result<(), MakeError> {
        let path = self.waiting.path().to_owned();
        let failed = |step| {
            let path = path.clone();
            move |errno: Errno| MakeError::Walk { path, step, source: errno.into() }
        };
        let dir = open_beneath(root, &path).map_err(|source| MakeError::Walk {
            path: path.clone(),
            step: "open",
            source,
        })?;
        let (mut directory, mut directories) = (Directory::default(), 0);
        let special_before = self.special.number;
        for entry in Dir::read_from(&dir).map_err(failed("read"))? {
            let entry = entry.map_err(failed("read"))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("stat a file of"))?;
            let name = name.to_bytes();
            let below = match self.waiting.depth() {
                0 => PathBuf::from(OsStr::from_bytes(name)),
                _ => path.join(OsStr::from_bytes(name)),
            };
            directories += usize::from(FileType::from_raw_mode(stat.st_mode).is_dir());
            if directories > self.most_in_a_directory {
                let (what, most) = ("directories in one directory", self.most_in_a_directory);
                return Err(MakeError::TooMany { what, most });
            }
            self.names.add(name)?;
            self.reads.add_name(&mut directory, name, &path)?;
            self.file(&dir, name, below, &stat)?;
        }
        let special = self.special.number - special_before;
        self.reads.leave(&directory, self.waiting.depth(), special, &path)?;
        // mke2fs writes files between two blocks of a directory, so each of them may be an extent.
        let bytes = directory.bytes();
        self.found.usage.bytes += bytes + extent_tree(bytes / BLOCK);
        Ok(())
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: PathBuf,
        stat: &Stat,
    ) -> Result<(), MakeError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.waiting.depth() == 0 && name == b"lost+found" && !kind.is_dir() {
            return Err(MakeError::LostFound);
        }
        // mke2fs visits every name of a file, and makes a new symbolic link for each name of a symbolic link.
        bounded(&path, stat.st_mtime)?;
        let walk = |step| {
            let path = path.clone();
            move |source: io::Error| MakeError::Walk { path, step, source }
        };
        if kind.is_dir() {
            self.waiting.push(name).map_err(walk("take note of"))?;
        } else if !kind.is_symlink() && stat.st_nlink > 1 && self.linked.is_another_name(stat)? {
            return Ok(());
        }
        self.inode()?;
        if !kind.is_dir() {
            self.found.usage.bytes += content(kind, stat);
        }
        let place = by_descriptor(dir).join(OsStr::from_bytes(name));
        let attributes = walk::attributes_of(Of::Link(&place));
        let attributes = attributes.map_err(walk("read the extended attributes of"))?;
        for (attribute, value) in &attributes {
            self.special.add(&path, attribute.len() + value.len())?;
        }
        if stat.st_mtime > i64::from(i32::MAX) {
            self.special.add(&path, 0)?;
            self.found.late.insert(path.clone(), stat.st_mtime);
        }
        if !attributes.is_empty() {
            self.found.usage.bytes += BLOCK;
            self.found.attributes.insert(path, attributes);
        }
        Ok(())
    }

    fn inode(&mut self) -> Result<(), MakeError> {
        let usage = &mut self.found.usage;
        usage.inodes += 1;
        let needs = Usage { bytes: 0, inodes: usage.inodes }.needs(self.size_bytes);
        if needs > self.size_bytes {
            return Err(MakeError::TooLarge { needs, size: self.size_bytes });
        }
        Ok(())
    }
}

/// What the content of a file that is no directory takes, in bytes.
fn content(kind: FileType, stat: &Stat) -> u64 {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if kind.is_symlink() {
        // A shorter target is in the inode.
        return if size < SHORT_TARGET { 0 } else { size.next_multiple_of(BLOCK) };
    }
    // The host's file system may also have allocated blocks for attributes, and behind the end.
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let bytes = allocated.min(size).next_multiple_of(BLOCK);
    // Between two holes each block may be an extent. Without holes mke2fs writes one block behind the other.
    let longest = if allocated < size { BLOCK } else { LEAST_EXTENT };
    bytes + extent_tree(bytes.div_ceil(longest))
}

/// The size of a target that is not in the inode any more (fs/ext4/ext4.h, `EXT4_N_BLOCKS`), in bytes.
const SHORT_TARGET: u64 = 60;
/// The bytes of an extent in a file without holes. An extent has up to 128 MiB; this leaves room for what stands between groups.
const LEAST_EXTENT: u64 = 32 << 20;

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

/// Checks that mke2fs and ext4 take the path and the time of a file.
fn bounded(path: &Path, seconds: i64) -> Result<(), MakeError> {
    // The length includes the `/` at the beginning.
    if path.as_os_str().len() >= LONGEST_PATH {
        return Err(MakeError::LongPath { path: path.to_owned(), most: LONGEST_PATH });
    }
    if !TIMES.contains(&seconds) {
        return Err(MakeError::Time { path: path.to_owned(), seconds });
    }
    Ok(())
}

pub(super) fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    Ok(Resolve::OneTree.open(root, path, flags)?)
}

#[cfg(test)]
#[path = "count_tests.rs"]
mod tests;
