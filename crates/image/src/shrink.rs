//! The file system of a fresh snapshot, made smaller before its first mount: a container's size bounds its device, and so what
//! the container can take of the pool.
//!
//! resize2fs reads what `ext4` made, and nothing that a container wrote. A base's files and its journal lie at the front, so
//! mostly group descriptors and bitmaps change, in a few blocks of the pool. Of a base whose journal is in the middle resize2fs
//! moves that, too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use sharedroot_format::base::{BLOCK, INODE};

use super::ext4::Tool;
use crate::error::MakeError;

/// What resize2fs wants in a last group besides the group's own tables (e2fsprogs, resize/resize2fs.c, `adjust_fs_info`).
const LAST_GROUP: u64 = 50;
/// Blocks that a shrunken file system has over what its files take: for maps of blocks that are moved, and for a first change.
const SPARE: u64 = 64;
/// Bytes of a group descriptor with the feature `64bit`.
const DESCRIPTOR: u64 = 64;

/// Makes the file system on `device` as large as `size_bytes`, less what is no whole block. Nobody has mounted it.
///
/// # Errors
/// [`MakeError::FilesDoNotFit`] if its files do not fit; or what failed of resize2fs. The device then holds nothing of use.
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
    // By force: its own idea of the smallest size is far too large for a file system with tables of many groups in the first.
    resize2fs.command.arg("-f").arg(device).arg((size_bytes / BLOCK).to_string());
    resize2fs.run(device, Stdio::null(), |output| output.status.success())
}

/// What a base's superblock says of its layout (Documentation/filesystems/ext4/super.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    blocks: u64,
    free_blocks: u64,
    inodes: u64,
    free_inodes: u64,
    group_blocks: u64,
    group_inodes: u64,
    /// How many groups have their tables side by side, at the front of the first of them.
    flex: u64,
    /// Blocks of a group's inode table.
    table: u64,
}

impl Layout {
    fn read(device: &Path) -> io::Result<Self> {
        let mut superblock = [0; 1024];
        File::open(device)?.read_exact_at(&mut superblock, 1024)?;
        Self::parse(&superblock).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "not the file system of a base")
        })
    }

    /// None of what [`super::make_filesystem`] never makes.
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
            && group_blocks == 8 * BLOCK
            && (1..=8 * BLOCK).contains(&group_inodes)
            && inode_size == INODE
            && layout.flex <= 1 << 16
            && layout.free_blocks <= layout.blocks
            && layout.free_inodes <= layout.inodes;
        sound.then_some(layout)
    }

    fn groups(self) -> u64 {
        self.blocks.div_ceil(self.group_blocks)
    }

    /// What is in the first so many groups besides files: the superblock and the descriptors, and two bitmaps and an inode
    /// table for each group whose tables are there. resize2fs moves nothing into a table that it gives up.
    fn tables(self, groups: u64) -> u64 {
        let there = groups.next_multiple_of(self.flex).min(self.groups());
        1 + (self.groups() * DESCRIPTOR).div_ceil(BLOCK) + there * (self.table + 2)
    }

    /// The blocks of the smallest file system that takes these files, by their blocks and by their number.
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
