//! The exclusive blocks of a snapshot, read from the pool's metadata ([`metadata_tree`](crate::metadata_tree)).
//!
//! To discard a whole snapshot costs as much as its origin has blocks: the kernel removes each shared block from the snapshot's
//! mappings, and copies their tree for that. But the snapshot of an idle container has only a dozen exclusive blocks. So
//! [`Pool::delete`](crate::Pool::delete) discards only those. [`Pool::written`](crate::Pool::written) tells them to a caller that
//! looks for what a container wrote.
//!
//! The mappings of a volume do not change while nobody writes the volume. For a deletion a wrong result does no harm: only a volume
//! that is being deleted is discarded, and the kernel keeps the blocks that another volume shares. For what was written, all nodes
//! are read between two equal reads of the superblock, because a mount may still write the snapshot; and the metadata is read past
//! the page cache.
//!
//! Each write to a block that a snapshot shares gives the snapshot a new mapping with the pool's time (`process_shared_bio`,
//! `__insert` in dm-thin.c and dm-thin-metadata.c), also after the origin's deletion. So no written block is missing, whatever
//! volume is taken for the origin.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::metadata_tree::{
    Block, Blocks, Child, DEEPEST, DETAILS, MAPPINGS, Node, at_one_time, find, number_at, once,
    open_direct, superblock, walk,
};
use crate::names::ThinId;

/// The latest time that a mapping can have. After 2^24 snapshots the time in a mapping says nothing.
const LATEST: u64 = (1 << 24) - 1;

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
    at_one_time(&open_direct(metadata)?, |blocks| ranges(blocks, origin, snapshot))
}

pub(crate) fn ranges(
    blocks: &impl Blocks,
    origin: ThinId,
    snapshot: ThinId,
) -> io::Result<Vec<Range<u64>>> {
    let Trees { shared, root, since } =
        at_one_time(blocks, |blocks| trees(blocks, &superblock(blocks)?, origin, snapshot))?;
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

#[cfg(test)]
#[path = "exclusive_blocks_tests.rs"]
mod tests;
