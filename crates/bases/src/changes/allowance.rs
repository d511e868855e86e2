//! How much a write-back makes, looks at and reads at most.
//!
//! A process that got a descriptor of the root can move a file to where the walk comes next, so that the walk meets the file
//! under many names; or write a file before the walk and take its blocks away behind it. The host would pay for it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::{Failed, Of, doing};
use super::node::on_disk;

/// What the walks of a write-back may still do.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Bytes that are written into the second tree.
    pub(super) bytes: u64,
    /// Inodes that are made in it, directories that are visited, and files that are looked at.
    pub(super) inodes: u64,
    /// Bytes of the first tree that are read, and the bytes on the disk of each file of which data and holes are asked: the kernel
    /// passes its pieces.
    pub(super) read: u64,
    /// Bytes of the second tree that are read where the first tree has none.
    pub(super) theirs: u64,
}

impl Allowance {
    /// For a second tree that is a snapshot, which has a size.
    pub(super) const NO_BOUND: Self =
        Self { bytes: u64::MAX, inodes: u64::MAX, read: u64::MAX, theirs: u64::MAX };

    /// What the file system of the first tree can hold, for two walks. Each of them looks at an inode and makes it, and reads a
    /// file that differs once more while it writes the file. The second tree has the image, which the first tree has room for,
    /// and what lies in `store`.
    ///
    /// # Errors
    /// As for fstatvfs(3).
    pub(super) fn of(from: BorrowedFd<'_>, store: BorrowedFd<'_>) -> Result<Self, Errno> {
        let (found, there) = (rustix::fs::fstatvfs(from)?, rustix::fs::fstatvfs(store)?);
        let bytes = found.f_blocks.saturating_mul(found.f_frsize);
        let used = there.f_blocks.saturating_sub(there.f_bfree).saturating_mul(there.f_frsize);
        // A file system that makes inodes on demand reports no number of inodes.
        let inodes = if found.f_files == 0 { u64::MAX } else { found.f_files };
        Ok(Self {
            bytes: bytes.saturating_mul(2),
            inodes: inodes.saturating_mul(4),
            read: bytes.saturating_mul(8),
            theirs: used.saturating_add(bytes).saturating_mul(4),
        })
    }

    /// Takes bytes to write.
    ///
    /// # Errors
    /// EBUSY if they are not there, here and below; see [`copying`].
    pub(super) fn write(&mut self, bytes: u64) -> Result<(), Errno> {
        take(&mut self.bytes, bytes)
    }

    /// Takes bytes of the first tree.
    pub(super) fn read(&mut self, bytes: u64) -> Result<(), Errno> {
        take(&mut self.read, bytes)
    }

    /// Takes the pieces of a file of the first tree.
    pub(super) fn pass(&mut self, from: BorrowedFd<'_>) -> Result<(), Errno> {
        self.read(on_disk(&rustix::fs::fstat(from)?))
    }

    /// Takes bytes of the second tree.
    pub(super) fn read_theirs(&mut self, bytes: u64) -> Result<(), Errno> {
        take(&mut self.theirs, bytes)
    }

    /// Takes what ext4 takes for one more name of a file.
    pub(super) fn name(&mut self, name: &CStr) -> Result<(), Failed> {
        let entry = (8 + name.count_bytes()).next_multiple_of(4);
        self.write(entry as u64).map_err(copying("link"))
    }

    /// Takes an inode, or a look at one.
    pub(super) fn make(&mut self) -> Result<(), Failed> {
        take(&mut self.inodes, 1).map_err(copying("make"))
    }
}

fn take(left: &mut u64, wanted: u64) -> Result<(), Errno> {
    *left = left.checked_sub(wanted).ok_or(Errno::BUSY)?;
    Ok(())
}

/// As [`doing`], for a step that takes from an [`Allowance`].
pub(super) fn copying(step: &'static str) -> impl FnOnce(Errno) -> Failed {
    move |errno| match errno {
        Errno::BUSY => {
            let step = "bring, beside as much as a whole root can hold, because another process moves or writes files meanwhile,";
            Failed { step, source: errno, of: Of::File, part: None }
        }
        errno => doing(step)(errno),
    }
}
