//! The trees in a pool's metadata on the disk, read without a call of the kernel.
//!
//! The pool is in use meanwhile. The kernel never changes a node in place while a committed superblock leads to that node. So
//! blocks that were read between two equal reads of the superblock belong together.
//!
//! Layout, all little-endian: `struct thin_disk_superblock` and `struct disk_device_details` in dm-thin-metadata.c, `struct
//! node_header` in persistent-data/dm-btree-internal.h.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_DIRECT;

use crate::names::ThinId;
use crate::superblock::{BLOCK, MAGIC};

pub(crate) type Block = [u8; BLOCK.0 as usize];

/// How often the trees are read again because the superblock has changed. Each commit of the pool changes the superblock.
pub(crate) const TRIES: usize = 16;
/// The largest depth of a tree. A tree of 2^64 keys has fewer levels, so a deeper tree is a loop in damaged metadata.
pub(crate) const DEEPEST: usize = 16;
/// The offsets of the roots of two trees in the superblock: `data_mapping_root` and `device_details_root`.
pub(crate) const MAPPINGS: usize = 320;
pub(crate) const DETAILS: usize = 328;

/// Reads blocks of metadata by their number. Tests have the blocks in memory.
pub(crate) trait Blocks {
    fn block(&self, number: u64) -> io::Result<Block>;
}

/// A block in memory where the kernel takes it for `O_DIRECT`.
#[repr(align(4096))]
struct Aligned(Block);

impl Blocks for File {
    fn block(&self, number: u64) -> io::Result<Block> {
        let mut block = Aligned([0; BLOCK.0 as usize]);
        self.read_exact_at(&mut block.0, number.saturating_mul(BLOCK.0))?;
        Ok(block.0)
    }
}

/// Opens the metadata past the page cache, which does not see what the kernel writes to a block device.
pub(crate) fn open_direct(metadata: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_DIRECT).open(metadata)
}

/// The superblock.
///
/// # Errors
/// `InvalidData` if it is none.
pub(crate) fn superblock(blocks: &impl Blocks) -> io::Result<Block> {
    let superblock = blocks.block(0)?;
    match superblock[MAGIC.0..MAGIC.0 + 8] == MAGIC.1 {
        true => Ok(superblock),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What `read` finds in blocks that belong together.
pub(crate) fn at_one_time<B: Blocks, T>(
    blocks: &B,
    read: impl Fn(&B) -> io::Result<T>,
) -> io::Result<T> {
    for _ in 0..TRIES {
        let superblock = blocks.block(0)?;
        let found = read(blocks);
        if blocks.block(0)? == superblock {
            return found;
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Records that a node was seen. A node has one parent in a tree, so a node that comes again is damage; without this check
/// damaged metadata could make a walk endless.
pub(crate) fn once(seen: &mut BTreeSet<u64>, node: u64) -> io::Result<bool> {
    if seen.insert(node) { Ok(true) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What a walk finds in a node.
pub(crate) enum Child {
    /// A node below. The visitor returns whether the walk goes there.
    Node(u64),
    /// An entry of a leaf.
    Entry(usize),
}

/// Walks a tree in the order of its keys. `deep` is the largest remaining depth.
pub(crate) fn walk(
    blocks: &impl Blocks,
    number: u64,
    deep: usize,
    visit: &mut impl FnMut(&Node, Child) -> io::Result<bool>,
) -> io::Result<()> {
    let node = Node::read(blocks, number)?;
    for index in 0..node.entries {
        if node.is_leaf() {
            visit(&node, Child::Entry(index))?;
            continue;
        }
        let child = node.number(index)?;
        if visit(&node, Child::Node(child))? {
            let deep = deep.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
            walk(blocks, child, deep, visit)?;
        }
    }
    Ok(())
}

/// The leaf that has the key `id`, and the index of the key there.
pub(crate) fn find(blocks: &impl Blocks, root: u64, id: ThinId) -> io::Result<(Node, usize)> {
    let key = u64::from(id.get());
    let mut number = root;
    for _ in 0..DEEPEST {
        let node = Node::read(blocks, number)?;
        // The last entry whose key is not larger than the wanted key.
        let index = (0..node.entries).rev().find(|index| node.key(*index) <= key);
        let index = index.ok_or(io::ErrorKind::NotFound)?;
        if node.is_leaf() {
            return match node.key(index) == key {
                true => Ok((node, index)),
                false => Err(io::ErrorKind::NotFound.into()),
            };
        }
        number = node.number(index)?;
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A node of a tree: a header of 32 bytes, then the keys, then the values. `room` is the number of entries that fit.
pub(crate) struct Node {
    block: Block,
    pub(crate) entries: usize,
    room: usize,
}

impl Node {
    pub(crate) fn read(blocks: &impl Blocks, number: u64) -> io::Result<Self> {
        let block = blocks.block(number)?;
        let small = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("4 bytes"));
        let (entries, room) = (small(16) as usize, small(20) as usize);
        let fits = 32 + room.saturating_mul(16) <= block.len() && entries <= room;
        if number_at(&block, 8) != number || !fits || !matches!(small(4), 1 | 2) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { block, entries, room })
    }

    /// An inner node has the flag 1, a leaf the flag 2.
    pub(crate) fn is_leaf(&self) -> bool {
        self.block[4] == 2
    }

    pub(crate) fn key(&self, index: usize) -> u64 {
        number_at(&self.block, 32 + 8 * index)
    }

    pub(crate) fn value(&self, index: usize, size: usize) -> io::Result<&[u8]> {
        let at = 32 + 8 * self.room + size * index;
        self.block.get(at..at + size).ok_or(io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn number(&self, index: usize) -> io::Result<u64> {
        Ok(number_at(self.value(index, 8)?, 0))
    }
}

pub(crate) fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(any(test, feature = "fuzz"))]
#[path = "metadata_memory.rs"]
pub(crate) mod memory;
