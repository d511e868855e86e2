use super::*;
use proptest::prelude::*;

/// Metadata in memory; a number without a block is beyond its end.
struct Memory(Vec<Block>);

impl Blocks for Memory {
    fn block(&self, number: u64) -> io::Result<Block> {
        let block = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        block.copied().ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Memory {
    fn new() -> Self {
        let mut superblock = [0; BLOCK.0 as usize];
        superblock[MAGIC.0..MAGIC.0 + 8].copy_from_slice(&MAGIC.1);
        Self(vec![superblock])
    }

    /// A node of keys and values, each value of `size` bytes.
    fn node(&mut self, leaf: bool, entries: &[(u64, Vec<u8>)], size: usize) -> u64 {
        let (number, room) = (self.0.len() as u64, (BLOCK.0 as usize - 32) / (8 + size));
        let mut block = [0; BLOCK.0 as usize];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &(1 + u32::from(leaf)).to_le_bytes());
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

    fn numbers(&mut self, leaf: bool, entries: &[(u64, u64)]) -> u64 {
        let entries: Vec<_> =
            entries.iter().map(|(key, value)| (*key, value.to_le_bytes().to_vec())).collect();
        self.node(leaf, &entries, 8)
    }

    /// Completes the trees above the mappings of volumes 3 (the origin) and 7, which was taken at time 5.
    fn finish(&mut self, origin: u64, snapshot: u64) {
        let mappings = self.numbers(true, &[(3, origin), (7, snapshot)]);
        let mut details = vec![0; 24];
        details[16..20].copy_from_slice(&5_u32.to_le_bytes());
        details[20..].copy_from_slice(&8_u32.to_le_bytes());
        let details = self.node(true, &[(3, details.clone()), (7, details)], 24);
        self.0[0][MAPPINGS..MAPPINGS + 8].copy_from_slice(&mappings.to_le_bytes());
        self.0[0][DETAILS..DETAILS + 8].copy_from_slice(&details.to_le_bytes());
    }

    fn own(&self) -> io::Result<Vec<Range<u64>>> {
        let id = |id| ThinId::new(id).expect("24 bits");
        ranges(self, id(3), id(7))
    }
}

/// A mapping to any data block, made at a time.
fn at(time: u64) -> u64 {
    99 << 24 | time
}

#[test]
fn only_what_was_written_since_counts() {
    let mut memory = Memory::new();
    let first = memory.numbers(true, &[(0, at(2))]);
    let shared = memory.numbers(true, &[(4, at(4)), (5, at(4))]);
    let old = memory.numbers(true, &[(10, at(1)), (11, at(4))]);
    let new =
        memory.numbers(true, &[(10, at(5)), (11, at(6)), (12, at(6)), (13, at(4)), (14, at(9))]);
    let origin = memory.numbers(false, &[(0, first), (4, shared), (10, old)]);
    let snapshot = memory.numbers(false, &[(0, first), (4, shared), (10, new)]);
    memory.finish(origin, snapshot);
    assert_eq!(memory.own().expect("ranges"), [10..13, 14..15]);
    // A leaf in common is not even read.
    memory.0[shared as usize] = [0; BLOCK.0 as usize];
    assert_eq!(memory.own().expect("ranges"), [10..13, 14..15]);
}

#[test]
fn an_untouched_snapshot_has_nothing_of_its_own() {
    let mut memory = Memory::new();
    let leaf = memory.numbers(true, &[(0, at(4))]);
    memory.finish(leaf, leaf);
    assert_eq!(memory.own().expect("ranges"), []);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut memory = Memory::new();
    let leaf = memory.numbers(true, &[(0, at(9))]);
    // A tree that leads to itself.
    let circle = memory.0.len() as u64;
    memory.numbers(false, &[(0, circle)]);
    memory.finish(leaf, circle);
    assert_eq!(memory.own().expect_err("a circle").kind(), io::ErrorKind::InvalidData);
    assert!(ranges(&memory, ThinId::MAX, ThinId::MAX).is_err(), "no such volume");
    memory.0[0][MAGIC.0] = 0;
    assert_eq!(memory.own().expect_err("no magic").kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn any_metadata_is_read_or_refused(
        pokes in proptest::collection::vec((0usize..6, 0usize..400, any::<u8>()), 0..40),
    ) {
        let mut memory = Memory::new();
        let leaf = memory.numbers(true, &[(0, at(4)), (1, at(7))]);
        let origin = memory.numbers(false, &[(0, leaf)]);
        let copy = memory.numbers(true, &[(0, at(7)), (1, at(7))]);
        memory.finish(origin, copy);
        for (block, at, byte) in pokes {
            memory.0[block][at] = byte;
        }
        let _ = memory.own();
    }

    #[test]
    fn ranges_hold_the_new_blocks_and_no_others(
        times in proptest::collection::btree_map(0u64..400, 0u64..10, 0..200),
    ) {
        let mut memory = Memory::new();
        let origin = memory.numbers(true, &[]);
        let entries: Vec<_> = times.iter().map(|(block, time)| (*block, at(*time))).collect();
        let snapshot = memory.numbers(true, &entries);
        memory.finish(origin, snapshot);
        let own: Vec<u64> = memory.own().expect("ranges").into_iter().flatten().collect();
        let wanted: Vec<u64> = times.iter().filter(|(_, time)| **time >= 5).map(|(b, _)| *b).collect();
        prop_assert_eq!(own, wanted);
    }
}
