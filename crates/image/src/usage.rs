//! What the files of an image take in a base.

use sharedroot_format::base::{BLOCK, BYTES_PER_INODE, INODE, JOURNAL_MIB};

/// The blocks of a group: as many as the bits of the block that is its bitmap.
pub(super) const GROUP: u64 = 8 * BLOCK;
/// The size of a group descriptor with the feature `64bit`, in bytes.
pub(super) const DESCRIPTOR: u64 = 64;
/// The blocks that the last group needs beside its tables (e2fsprogs, lib/ext2fs/initialize.c; resize/resize2fs.c,
/// `adjust_fs_info`).
pub(super) const LAST_GROUP: u64 = 50;
/// The blocks of the directory `lost+found`, which mke2fs makes before all files (e2fsprogs, misc/mke2fs.c,
/// `create_lost_and_found`).
const LOST_FOUND: u64 = 4;

/// What the files of a tree take in a file system, without the metadata of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of content, of directories and of attributes, in whole blocks of 4 KiB, with the blocks that list a file's extents;
    /// holes take none.
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

    /// What a base of `size_bytes` needs to hold the files, in bytes, with the journal and the tables of the groups.
    pub(super) fn needs(self, size_bytes: u64) -> u64 {
        let (blocks, inodes) = (size_bytes / BLOCK, self.inode_count(size_bytes));
        let all = blocks.div_ceil(GROUP).max(1);
        // The bitmap of a group's inodes is one block.
        let fewest = inodes.div_ceil(GROUP);
        if fewest > all {
            return fewest * GROUP * BLOCK;
        }
        let tables = |groups: u64| 2 + (inodes.div_ceil(groups) * INODE).div_ceil(BLOCK);
        // mke2fs leaves the last group out if it has room for little more than its tables.
        let last = blocks % GROUP;
        let is_left_out = (1..tables(all) + LAST_GROUP).contains(&last) && all > fewest.max(1);
        let (groups, left_out) = if is_left_out { (all - 1, last) } else { (all, 0) };
        let descriptors = (groups * DESCRIPTOR).div_ceil(BLOCK);
        let metadata = 1 + descriptors + groups * tables(groups) + LOST_FOUND + left_out;
        self.bytes + metadata * BLOCK + (JOURNAL_MIB << 20)
    }
}

/// The bytes of the blocks in which ext4 keeps the extents of a file, if it has so many. Four are in the inode.
pub(super) fn extent_tree(extents: u64) -> u64 {
    // A node has a header and as many entries of 12 bytes as its block takes, without the checksum (fs/ext4/ext4_extents.h).
    const ENTRIES: u64 = (BLOCK - 12 - 4) / 12;
    let (mut nodes, mut blocks) = (extents, 0);
    while nodes > 4 {
        nodes = nodes.div_ceil(ENTRIES);
        blocks += nodes;
    }
    blocks * BLOCK
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

    #[test]
    fn tables_of_every_group() {
        let needs = |bytes, inodes, size| Usage { bytes, inodes }.needs(size) >> 12;
        let (journal, lost_found) = (1024, 4);
        // Two bitmaps, and 2,048 inodes of which a block holds 16.
        assert_eq!(needs(0, 1, 32 << 20), 1 + 1 + 2 + 128 + lost_found + journal);
        assert_eq!(needs(8192, 1, 32 << 20), needs(0, 1, 32 << 20) + 2);
        let ten_gib = 1 + 2 + 80 * (2 + 512) + lost_found + journal;
        assert_eq!(needs(0, 1, 10 << 30), ten_gib);
        // A last group of 100 blocks is left out.
        assert_eq!(
            needs(0, 1, (128 << 20) + (100 << 12)),
            1 + 1 + 2 + 514 + 100 + lost_found + journal
        );
        // 60,000 files need inodes for 75,064, which are three groups.
        assert_eq!(needs(0, 60_000, 256 << 20), 3 * GROUP);
        assert!(needs(0, 60_000, 384 << 20) < 3 * GROUP);
    }

    #[test]
    fn extents_beyond_the_inode_take_blocks() {
        let blocks = |extents| extent_tree(extents) / BLOCK;
        assert_eq!([0, 4, 5, 340, 341, 1360].map(blocks), [0, 0, 1, 1, 2, 4]);
        // Five leaves need an index.
        assert_eq!(blocks(1361), 5 + 1);
    }
}
