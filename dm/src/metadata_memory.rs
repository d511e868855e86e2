//! Metadata in memory, for the tests and the fuzz target.

use std::io;
use std::ops::Range;

use super::{BLOCK, Block, Blocks, DETAILS, MAGIC, MAPPINGS};
use crate::exclusive_blocks::ranges;
use crate::names::ThinId;

/// The flag of a node (`enum node_flags` in persistent-data/dm-btree-internal.h).
#[derive(Debug, Clone, Copy)]
enum NodeKind {
    Inner = 1,
    Leaf = 2,
}

/// Metadata in memory. A block number without a block is beyond the end.
pub(crate) struct Memory(pub(crate) Vec<Block>);

impl Blocks for Memory {
    fn block(&self, number: u64) -> io::Result<Block> {
        let block = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        block.copied().ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        let mut superblock = [0; BLOCK.0 as usize];
        superblock[MAGIC.0..MAGIC.0 + 8].copy_from_slice(&MAGIC.1);
        Self(vec![superblock])
    }

    /// Adds a node with these keys and values; each value has `size` bytes. Returns the number of the node's block.
    fn node(&mut self, kind: NodeKind, entries: &[(u64, Vec<u8>)], size: usize) -> u64 {
        let (number, room) = (self.0.len() as u64, (BLOCK.0 as usize - 32) / (8 + size));
        let mut block = [0; BLOCK.0 as usize];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &(kind as u32).to_le_bytes());
        put(8, &number.to_le_bytes());
        put(16, &(entries.len() as u32).to_le_bytes());
        put(20, &(room as u32).to_le_bytes());
        put(24, &(size as u32).to_le_bytes());
        for (index, (key, value)) in entries.iter().enumerate() {
            put(32 + 8 * index, &key.to_le_bytes());
            put(32 + 8 * room + size * index, value);
        }
        self.0.push(block);
        number
    }

    pub(crate) fn leaf(&mut self, entries: &[(u64, u64)]) -> u64 {
        self.numbers(NodeKind::Leaf, entries)
    }

    pub(crate) fn inner(&mut self, entries: &[(u64, u64)]) -> u64 {
        self.numbers(NodeKind::Inner, entries)
    }

    fn numbers(&mut self, kind: NodeKind, entries: &[(u64, u64)]) -> u64 {
        let entries: Vec<_> =
            entries.iter().map(|(key, value)| (*key, value.to_le_bytes().to_vec())).collect();
        self.node(kind, &entries, 8)
    }

    /// Completes the trees above the mappings of the volumes 3, the origin, and 7, a snapshot that was taken at the time 5. The
    /// details say that 30 blocks of the one and 70 blocks of the other one are mapped.
    pub(crate) fn finish(&mut self, origin: u64, snapshot: u64) {
        self.finish_at(5, origin, snapshot);
    }

    /// The same for a snapshot that was taken at `time`.
    pub(crate) fn finish_at(&mut self, time: u32, origin: u64, snapshot: u64) {
        let mappings = self.leaf(&[(3, origin), (7, snapshot)]);
        let details = self.details(&[3, 7], time);
        self.0[0][MAPPINGS..MAPPINGS + 8].copy_from_slice(&mappings.to_le_bytes());
        self.0[0][DETAILS..DETAILS + 8].copy_from_slice(&details.to_le_bytes());
    }

    /// A leaf of the details of these volumes, of each of which ten times its id of blocks are mapped.
    fn details(&mut self, ids: &[u64], time: u32) -> u64 {
        let details = |id: &u64| {
            let mut details = vec![0; 24];
            details[..8].copy_from_slice(&(10 * id).to_le_bytes());
            details[16..20].copy_from_slice(&time.to_le_bytes());
            details[20..].copy_from_slice(&8_u32.to_le_bytes());
            (*id, details)
        };
        let entries: Vec<_> = ids.iter().map(details).collect();
        self.node(NodeKind::Leaf, &entries, 24)
    }

    /// The details of the volumes below `count`, in leaves that are half full as those of the kernel.
    #[cfg(test)]
    pub(crate) fn finish_many(&mut self, count: u64) {
        let ids: Vec<_> = (0..count).collect();
        let leaves: Vec<_> = ids.chunks(63).map(|ids| (ids[0], self.details(ids, 0))).collect();
        let details = self.inner(&leaves);
        self.0[0][DETAILS..DETAILS + 8].copy_from_slice(&details.to_le_bytes());
    }

    pub(crate) fn own(&self) -> io::Result<Vec<Range<u64>>> {
        let id = |id| ThinId::new(id).expect("24 bits");
        ranges(self, id(3), id(7))
    }

    /// Overwrites eight bytes at a multiple of eight in any block.
    pub(crate) fn poke(&mut self, block: usize, at: usize, bytes: [u8; 8]) {
        let (block, at) = (block % self.0.len(), at % (BLOCK.0 as usize / 8) * 8);
        self.0[block][at..at + 8].copy_from_slice(&bytes);
    }
}
