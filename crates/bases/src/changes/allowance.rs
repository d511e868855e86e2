//! How much a write-back makes at most.
//!
//! A process that got a descriptor of the root can move a file to where the walk comes next, so that the walk meets the file
//! under many names; or write a file before the walk and take its blocks away behind it. The disk of the engine would pay for it.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::{Failed, Of, doing};

/// What a walk may still write into the second tree.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes: u64,
    inodes: u64,
}

impl Allowance {
    /// For a second tree that is a snapshot, which has a size.
    pub(super) const NO_BOUND: Self = Self { bytes: u64::MAX, inodes: u64::MAX };

    /// What the file system of the first tree can hold. Twice its bytes, because small files and the ends of files are in its
    /// inodes and in its blocks without a number of their own.
    ///
    /// # Errors
    /// As for fstatvfs(3).
    pub(super) fn of(from: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = rustix::fs::fstatvfs(from)?;
        let bytes = found.f_blocks.saturating_mul(found.f_frsize).saturating_mul(2);
        // A file system that makes inodes on demand reports no number of inodes.
        Ok(Self { bytes, inodes: if found.f_files == 0 { u64::MAX } else { found.f_files } })
    }

    #[cfg(test)]
    pub(super) fn new(bytes: u64, inodes: u64) -> Self {
        Self { bytes, inodes }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// EBUSY if they are not there; see [`copying`].
    pub(super) fn write(&mut self, bytes: u64) -> Result<(), Errno> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Errno::BUSY)?;
        Ok(())
    }

    /// Takes an inode.
    pub(super) fn make(&mut self) -> Result<(), Failed> {
        self.inodes = self.inodes.checked_sub(1).ok_or(Errno::BUSY).map_err(copying("make"))?;
        Ok(())
    }
}

/// As [`doing`], for a step that takes from an [`Allowance`].
pub(super) fn copying(step: &'static str) -> impl FnOnce(Errno) -> Failed {
    move |errno| match errno {
        Errno::BUSY => {
            let step = "make, beside as much as a whole root can hold, because another process moves or writes files meanwhile,";
            Failed { step, source: errno, of: Of::File, part: None }
        }
        errno => doing(step)(errno),
    }
}
