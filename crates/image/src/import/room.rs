//! What stays free of the disk on which layers are unpacked, and which may also hold the pool.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

/// Bytes that stay free.
pub const RESERVE: u64 = 256 << 20;
/// Files that can still be made: some directories of Docker's. A disk that has room for few files keeps a share of them.
const FILES_RESERVE: u64 = 1 << 16;
const LARGEST_SHARE: u64 = 16;
/// After so many bytes the free space of the disk is asked for again. These are at most 256 names.
const CHECK_EVERY: u64 = 4 << 20;
/// Bytes that a name can take of the disk besides content: a block of a directory, an inode, a block of attributes or of a
/// link's target, a line of the file of times.
pub(super) const NAME_COST: u64 = 16 << 10;

/// What may still be taken of the disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes that may still be written before the free space is asked for.
    until_check: u64,
}

/// What the disk has too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// The MiB that are left.
    Mib(u64),
    /// How many files can still be made, and how many of them stay.
    Files {
        /// How many can still be made.
        free: u64,
        /// How many stay.
        reserve: u64,
    },
}

impl Room {
    /// Takes `bytes`, of a name or of content, of the file system that has the file. Says what the file system lacks.
    pub(super) fn take(&mut self, of: BorrowedFd<'_>, bytes: u64) -> io::Result<Option<Lacking>> {
        if let Some(left) = self.until_check.checked_sub(bytes) {
            self.until_check = left;
            return Ok(None);
        }
        self.until_check = CHECK_EVERY;
        let found = rustix::fs::fstatvfs(of)?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < RESERVE + CHECK_EVERY {
            return Ok(Some(Lacking::Mib(free >> 20)));
        }
        Ok(lacking_files(found.f_files, found.f_favail))
    }
}

/// `of` files fit in the file system, of which `free` can still be made. A file system without such a bound says 0.
fn lacking_files(of: u64, free: u64) -> Option<Lacking> {
    let reserve = FILES_RESERVE.min(of / LARGEST_SHARE);
    (free < reserve + CHECK_EVERY / NAME_COST && of > 0).then_some(Lacking::Files { free, reserve })
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mib(free) => write!(f, "{free} MiB left, of which 256 stay free"),
            Self::Files { free, reserve } => {
                write!(f, "room for {free} more files (inodes), of which {reserve} stay free")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_keeps_a_part_of_its_inodes() {
        let files = |free, reserve| Some(Lacking::Files { free, reserve });
        // btrfs makes inodes as they are needed.
        assert_eq!(lacking_files(0, 0), None);
        assert_eq!(lacking_files(4096, 512), None);
        assert_eq!(lacking_files(4096, 511), files(511, 256));
        assert_eq!(lacking_files(1 << 30, (1 << 16) + 256), None);
        assert_eq!(lacking_files(1 << 30, (1 << 16) + 255), files((1 << 16) + 255, 1 << 16));
    }
}
