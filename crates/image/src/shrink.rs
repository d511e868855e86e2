//! Shrinks the file system of a new snapshot before its first mount. The size of a container bounds its device, and so what the
//! container can take of the pool.
//!
//! resize2fs reads what the module `ext4` made, or a layer of the snapshotter's, and nothing that a container wrote. The files of a
//! base and its journal lie at the front, so resize2fs changes little more than group descriptors and bitmaps, in a few blocks of
//! the pool. If an earlier version made the base, its journal may lie in the middle, and resize2fs moves the journal. The kernel put
//! the files of a layer anywhere, and resize2fs moves those that lie behind the new end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use sharedroot_format::base::{BLOCK, INODE};

use super::e2fsprogs::Tool;
use crate::error::MakeError;
use crate::usage::{DESCRIPTOR, GROUP, LAST_GROUP};

/// The blocks that a shrunken file system has beside those of its files: for the maps of blocks that are moved, and for a first
/// change.
const SPARE: u64 = 64;

/// Shrinks the file system on `device` to `size_bytes`, rounded down to whole blocks. It must not be mounted.
///
/// # Errors
/// [`MakeError::FilesDoNotFit`] if the files do not fit, and nothing has changed. [`MakeError::Superblock`];
/// [`MakeError::Tool`] with resize2fs's own words, and the device holds nothing of use.
pub fn shrink_filesystem(device: &Path, size_bytes: u64) -> Result<(), MakeError> {
    let read = |source| MakeError::Superblock { device: device.to_owned(), source };
    let needs = Layout::read(device).map_err(read)?.smallest().saturating_mul(BLOCK);
    if size_bytes < needs {
        return Err(MakeError::FilesDoNotFit {
            device: device.to_owned(),
            needs,
            size: size_bytes,
        });
    }
    let mut resize2fs = Tool::find("resize2fs")?;
    // `-f`, because resize2fs computes a smallest size that is far too large for a file system with the tables of many groups
    // in the first group.
    resize2fs.command.arg("-f").arg(device).arg((size_bytes / BLOCK).to_string());
    resize2fs.run(device, Stdio::null(), |output| output.status.success())
}

/// The layout of a base's file system, from its superblock (Documentation/filesystems/ext4/super.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    blocks: u64,
    free_blocks: u64,
    inodes: u64,
    free_inodes: u64,
    group_blocks: u64,
    group_inodes: u64,
    /// How many groups have their tables together, at the front of the first of these groups.
    flex: u64,
    /// How many blocks the inode table of a group has.
    table: u64,
}

impl Layout {
    fn read(device: &Path) -> io::Result<Self> {
        let mut superblock = [0; 1024];
        File::open(device)?.read_exact_at(&mut superblock, 1024)?;
        Self::parse(&superblock).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is not the file system of a base")
        })
    }

    /// Reads a superblock; none if [`super::make_filesystem`] never makes such a superblock.
    fn parse(superblock: &[u8; 1024]) -> Option<Self> {
        const MAGIC: [u8; 2] = [0x53, 0xEF];
        let number = |at: usize| {
            superblock[at..at + 4].try_into().map(u32::from_le_bytes).map_or(0, u64::from)
        };
        let wide = |low: usize, high: usize| number(high) << 32 | number(low);
        let inode_size = number(0x58) & 0xffff;
        let (group_blocks, group_inodes) = (number(0x20), number(0x28));
        let layout = Self {
            blocks: wide(0x4, 0x150),
            free_blocks: wide(0xC, 0x158),
            inodes: number(0x0),
            free_inodes: number(0x10),
            group_blocks,
            group_inodes,
            flex: 1_u64.checked_shl(u32::from(superblock[0x174]))?,
            table: (group_inodes * inode_size).div_ceil(BLOCK),
        };
        let sound = superblock[0x38..0x3A] == MAGIC
            && number(0x18) == u64::from(BLOCK.ilog2()) - 10
            && (1..1 << 40).contains(&layout.blocks)
            && group_blocks == GROUP
            && (1..=GROUP).contains(&group_inodes)
            && inode_size == INODE
            && layout.flex <= 1 << 16
            && layout.free_blocks <= layout.blocks
            && layout.free_inodes <= layout.inodes;
        sound.then_some(layout)
    }

    fn groups(self) -> u64 {
        self.blocks.div_ceil(self.group_blocks)
    }

    /// How many blocks of the first `groups` groups are not for files: the superblock, the descriptors, and two bitmaps and an
    /// inode table for each group whose tables are there. resize2fs moves no file into a table that it gives up.
    fn tables(self, groups: u64) -> u64 {
        let there = groups.next_multiple_of(self.flex).min(self.groups());
        1 + (self.groups() * DESCRIPTOR).div_ceil(BLOCK) + there * (self.table + 2)
    }

    /// How many blocks the smallest file system has that takes these files, by their blocks and by their number.
    fn smallest(self) -> u64 {
        let all = self.groups();
        let files = (self.blocks - self.free_blocks).saturating_sub(self.tables(all)) + SPARE;
        let fewest = (self.inodes - self.free_inodes).div_ceil(self.group_inodes);
        let fits = |groups: &u64| files + self.tables(*groups) <= groups * self.group_blocks;
        let groups = (fewest.max(1)..all).find(fits).unwrap_or(all);
        let last = (groups - 1) * self.group_blocks + self.table + 2 + LAST_GROUP;
        (files + self.tables(groups)).max(last).min(self.blocks)
    }
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
