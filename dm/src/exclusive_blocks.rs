//! The exclusive blocks of a snapshot, read from the pool's metadata on the disk without a call of the kernel.
//!
//! To discard a whole snapshot costs as much as its origin has blocks: the kernel removes each shared block from the snapshot's
//! mappings, and copies their tree for that. But the snapshot of an idle container has only a dozen exclusive blocks. So
//! [`Pool::delete`](crate::Pool::delete) discards only those. [`Pool::written`](crate::Pool::written) tells them to a caller that
//! looks for what a container wrote.
//!
//! The pool is in use meanwhile. The kernel never changes a node in place while a committed superblock leads to that node. So
//! blocks that were read between two equal reads of the superblock belong together. The mappings of a volume do not change
//! while nobody writes the volume. For a deletion a wrong result does no harm: only a volume that is being deleted is
//! discarded, and the kernel keeps the blocks that another volume shares. For what was written, all nodes are read between two
//! equal reads of the superblock, because a mount may still write the snapshot; and the metadata is read past the page cache,
//! which does not see what the kernel writes to a block device.
//!
//! Each write to a block that a snapshot shares gives the snapshot a new mapping with the pool's time (`process_shared_bio`,
//! `__insert` in dm-thin.c and dm-thin-metadata.c), also after the origin's deletion. So no written block is missing, whatever
//! volume is taken for the origin.
//!
//! Layout, all little-endian: `struct thin_disk_superblock` and `struct disk_device_details` in dm-thin-metadata.c, `struct
//! node_header` in persistent-data/dm-btree-internal.h.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_DIRECT;

use crate::names::ThinId;
use crate::superblock::{BLOCK, MAGIC};

type Block = [u8; BLOCK.0 as usize];

/// How often the trees are read again because the superblock has changed. Each commit of the pool changes the superblock.
const TRIES: usize = 16;
/// The largest depth of a tree. A tree of 2^64 keys has fewer levels, so a deeper tree is a loop in damaged metadata.
const DEEPEST: usize = 16;
/// The latest time that a mapping can have. After 2^24 snapshots the time in a mapping says nothing.
const LATEST: u64 = (1 << 24) - 1;
/// The offsets of the roots of two trees in the superblock: `data_mapping_root` and `device_details_root`.
const MAPPINGS: usize = 320;
const DETAILS: usize = 328;

/// Reads blocks of metadata by their number. Tests have the blocks in memory.
trait Blocks {
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

/// The ranges of blocks of `snapshot` that were written since it was taken from `origin`.
///
/// Both volumes are in the pool, the origin was not written since, nobody uses the snapshot, and the pool has committed its
/// metadata.
///
/// # Errors
/// `ResourceBusy` if the pool commits too often, `InvalidData` if the metadata is damaged or counts more than 2^24 snapshots,
/// `NotFound` if a volume is not in it.
pub(crate) fn exclusive_blocks(
    metadata: &Path,
    origin: ThinId,
    snapshot: ThinId,
) -> io::Result<Vec<Range<u64>>> {
    ranges(&File::open(metadata)?, origin, snapshot)
}

/// The same of a snapshot that may be in use. What was not written to its device yet, or after the commit, may be missing.
///
/// # Errors
/// As [`exclusive_blocks`].
pub(crate) fn written_blocks(
    metadata: &Path,
    origin: ThinId,
    snapshot: ThinId,
) -> io::Result<Vec<Range<u64>>> {
    let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(metadata)?;
    at_one_time(&direct, |blocks| ranges(blocks, origin, snapshot))
}

/// What `read` finds in blocks that belong together.
fn at_one_time<B: Blocks, T>(blocks: &B, read: impl Fn(&B) -> io::Result<T>) -> io::Result<T> {
    for _ in 0..TRIES {
        let superblock = blocks.block(0)?;
        let found = read(blocks);
        if blocks.block(0)? == superblock {
            return found;
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn ranges(blocks: &impl Blocks, origin: ThinId, snapshot: ThinId) -> io::Result<Vec<Range<u64>>> {
    let Trees { shared, root, since } = at_one_time(blocks, |blocks| {
        let superblock = blocks.block(0)?;
        match superblock[MAGIC.0..MAGIC.0 + 8] == MAGIC.1 {
            true => trees(blocks, &superblock, origin, snapshot),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    })?;
    // Nodes that the snapshot shares with its origin lead to no exclusive block.
    if shared.contains(&root) {
        return Ok(Vec::new());
    }
    let mut own: Vec<Range<u64>> = Vec::new();
    let mut seen = BTreeSet::from([root]);
    walk(blocks, root, DEEPEST, &mut |node, child| {
        Ok(match child {
            Child::Node(child) => !shared.contains(&child) && once(&mut seen, child)?,
            Child::Entry(index) => {
                // A mapping has the data block, and in its low 24 bits the time when it was made: `unpack_block_time`.
                let (block, time) = (node.key(index), node.number(index)? & LATEST);
                let end = block.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
                match own.last_mut() {
                    _ if time < since => {}
                    Some(last) if last.end == block => last.end = end,
                    _ => own.push(block..end),
                }
                true
            }
        })
    })?;
    Ok(own)
}

/// What the superblock and the trees of two volumes say.
struct Trees {
    /// The root and the leaves of the origin's mappings, and the nodes between them.
    shared: BTreeSet<u64>,
    /// The root of the snapshot's mappings.
    root: u64,
    /// The pool's time when the snapshot was taken.
    since: u64,
}

fn trees(
    blocks: &impl Blocks,
    superblock: &Block,
    origin: ThinId,
    snapshot: ThinId,
) -> io::Result<Trees> {
    let (mappings, details) = (number_at(superblock, MAPPINGS), number_at(superblock, DETAILS));
    let root = |id| find(blocks, mappings, id).and_then(|(node, index)| node.number(index));
    let (node, index) = find(blocks, details, snapshot)?;
    // The field `creation_time`, after two 64-bit fields. Not `snapshotted_time`, which a snapshot of the snapshot changes.
    let since = node.value(index, 24)?[16..20].try_into().expect("4 bytes");
    let origin = root(origin)?;
    let mut shared = BTreeSet::from([origin]);
    let mut height = 0;
    let mut below = origin;
    loop {
        let node = Node::read(blocks, below)?;
        if node.is_leaf() || height == DEEPEST {
            break;
        }
        (height, below) = (height + 1, node.number(0)?);
    }
    // All leaves of a tree are on one level, so the numbers of the leaves are known without reading the leaves.
    let mut level = vec![origin];
    for _ in 0..height {
        let mut next = Vec::new();
        for number in level {
            let node = Node::read(blocks, number)?;
            for index in 0..node.entries {
                let child = node.number(index)?;
                once(&mut shared, child)?;
                next.push(child);
            }
        }
        level = next;
    }
    let since = u64::from(u32::from_le_bytes(since));
    if since > LATEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Trees { shared, root: root(snapshot)?, since })
}

/// Records that a node was seen. A node has one parent in a tree, so a node that comes again is damage; without this check
/// damaged metadata could make a walk endless.
fn once(seen: &mut BTreeSet<u64>, node: u64) -> io::Result<bool> {
    if seen.insert(node) { Ok(true) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What a walk finds in a node.
enum Child {
    /// A node below. The visitor returns whether the walk goes there.
    Node(u64),
    /// An entry of a leaf.
    Entry(usize),
}

/// Walks a tree in the order of its keys. `deep` is the largest remaining depth.
fn walk(
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
fn find(blocks: &impl Blocks, root: u64, id: ThinId) -> io::Result<(Node, usize)> {
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
struct Node {
    block: Block,
    entries: usize,
    room: usize,
}

impl Node {
    fn read(blocks: &impl Blocks, number: u64) -> io::Result<Self> {
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
    fn is_leaf(&self) -> bool {
        self.block[4] == 2
    }

    fn key(&self, index: usize) -> u64 {
        number_at(&self.block, 32 + 8 * index)
    }

    fn value(&self, index: usize, size: usize) -> io::Result<&[u8]> {
        let at = 32 + 8 * self.room + size * index;
        self.block.get(at..at + size).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn number(&self, index: usize) -> io::Result<u64> {
        Ok(number_at(self.value(index, 8)?, 0))
    }
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(any(test, feature = "fuzz"))]
#[path = "exclusive_blocks_memory.rs"]
pub(crate) mod memory;

#[cfg(test)]
#[path = "exclusive_blocks_tests.rs"]
mod tests;
