//! What the files of an image take in a base.

use sharedroot_format::base::{BYTES_PER_INODE, INODE, JOURNAL_MIB};

/// What the files of a tree take in a file system, without the metadata of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of content and of directories, in whole blocks of 4 KiB; holes take none.
    pub bytes: u64,
    /// The number of files and directories. Several names of one file count as one.
    pub inodes: u64,
}

impl Usage {
    /// The number of inodes of a base of `size_bytes`: what mke2fs would choose, or a quarter more than the tree has if that is
    /// more. A snapshot of the base needs free inodes for new files.
    pub(super) fn inode_count(self, size_bytes: u64) -> u64 {
        (size_bytes / BYTES_PER_INODE).max(self.inodes + self.inodes / 4 + 64)
    }

    /// What the files take in a base of `size_bytes`, in bytes, with the inodes and the journal.
    pub(super) fn needs(self, size_bytes: u64) -> u64 {
        self.bytes + self.inode_count(size_bytes) * INODE + (JOURNAL_MIB << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_for_a_snapshot_too() {
        let count = |inodes, size| Usage { bytes: 0, inodes }.inode_count(size);
        assert_eq!(count(10, 16 << 30), 1 << 20);
        assert_eq!(count(100_000, 1 << 20), 125_064);
    }
}
