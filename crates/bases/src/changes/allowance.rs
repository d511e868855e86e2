//! How much a write-back makes and compares at most.
//!
//! A process that got a descriptor of the root can move a file to where the walk comes next, so that the walk meets the file
//! under many names; or write a file before the walk and take its blocks away behind it. The host would pay for it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::{Failed, Of, doing};

/// What the walks of a write-back may still do.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Bytes that are written into the second tree.
    pub(super) bytes: u64,
    /// Inodes that are made in it.
    pub(super) inodes: u64,
    /// Bytes of the first tree that are compared. What only the second tree has needs no bound: nobody moves it.
    pub(super) compared: u64,
}

impl Allowance {
    /// For a second tree that is a snapshot, which has a size.
    pub(super) const NO_BOUND: Self =
        Self { bytes: u64::MAX, inodes: u64::MAX, compared: u64::MAX };

    /// What the file system of the first tree can hold, for two walks. Each of them compares a file that differs once more
    /// while it writes the file.
    ///
    /// # Errors
    /// As for fstatvfs(3).
    pub(super) fn of(from: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = rustix::fs::fstatvfs(from)?;
        let bytes = found.f_blocks.saturating_mul(found.f_frsize);
        // A file system that makes inodes on demand reports no number of inodes.
        let inodes = if found.f_files == 0 { u64::MAX } else { found.f_files };
        Ok(Self {
            bytes: bytes.saturating_mul(2),
            inodes: inodes.saturating_mul(2),
            compared: bytes.saturating_mul(4),
        })
    }

    /// Takes bytes to write.
    ///
    /// # Errors
    /// EBUSY if they are not there, here and below; see [`copying`].
    pub(super) fn write(&mut self, bytes: u64) -> Result<(), Errno> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Errno::BUSY)?;
        Ok(())
    }

    /// Takes bytes to compare.
    pub(super) fn compare(&mut self, bytes: u64) -> Result<(), Errno> {
        self.compared = self.compared.checked_sub(bytes).ok_or(Errno::BUSY)?;
        Ok(())
    }

    /// Takes what ext4 takes for one more name of a file.
    pub(super) fn name(&mut self, name: &CStr) -> Result<(), Failed> {
        let entry = (8 + name.count_bytes()).next_multiple_of(4);
        self.write(entry as u64).map_err(copying("link"))
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
            let step = "bring, beside as much as a whole root can hold, because another process moves or writes files meanwhile,";
            Failed { step, source: errno, of: Of::File, part: None }
        }
        errno => doing(step)(errno),
    }
}
