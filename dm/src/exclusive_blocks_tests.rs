use super::*;
use crate::metadata_tree::memory::Memory;
use crate::metadata_tree::{Block, TRIES};
use crate::superblock::{BLOCK, MAGIC};
use proptest::prelude::*;

/// A mapping to some data block that was made at `time`.
fn at(time: u64) -> u64 {
    99 << 24 | time
}

#[test]
fn only_what_was_written_since_counts() {
    let mut memory = Memory::new();
    let first = memory.leaf(&[(0, at(2))]);
    let shared = memory.leaf(&[(4, at(4)), (5, at(4))]);
    let old = memory.leaf(&[(10, at(1)), (11, at(4))]);
    let new = memory.leaf(&[(10, at(5)), (11, at(6)), (12, at(6)), (13, at(4)), (14, at(9))]);
    let origin = memory.inner(&[(0, first), (4, shared), (10, old)]);
    let snapshot = memory.inner(&[(0, first), (4, shared), (10, new)]);
    memory.finish(origin, snapshot);
    assert_eq!(memory.own().expect("ranges"), [10..13, 14..15]);
    // A shared leaf is not read.
    memory.0[shared as usize] = [0; BLOCK.0 as usize];
    assert_eq!(memory.own().expect("ranges"), [10..13, 14..15]);
}

#[test]
fn an_untouched_snapshot_has_nothing_of_its_own() {
    let mut memory = Memory::new();
    let leaf = memory.leaf(&[(0, at(4))]);
    memory.finish(leaf, leaf);
    assert_eq!(memory.own().expect("ranges"), []);
}

#[test]
fn a_time_that_a_mapping_cannot_have_is_refused() {
    for (time, is_known) in [((1 << 24) - 1, true), (1 << 24, false)] {
        let mut memory = Memory::new();
        let [origin, snapshot] = [0, 1].map(|block| memory.leaf(&[(block, at(0xff_ffff))]));
        memory.finish_at(time, origin, snapshot);
        assert_eq!(memory.own().is_ok(), is_known, "{time}");
    }
}

/// Metadata whose superblock changes at each of the first `reads` of the superblock.
struct Changing(Memory, std::cell::Cell<u8>);

impl Blocks for Changing {
    fn block(&self, number: u64) -> io::Result<Block> {
        let mut block = self.0.block(number)?;
        if number == 0 {
            self.1.set(self.1.get().saturating_sub(1));
            block[8] = self.1.get();
        }
        Ok(block)
    }
}

#[test]
fn what_changes_meanwhile_is_read_again() {
    let tries = |changes: u8| {
        let tries = std::cell::Cell::new(0);
        let blocks = Changing(Memory::new(), std::cell::Cell::new(changes));
        let read = at_one_time(&blocks, |_| {
            tries.set(tries.get() + 1);
            Ok(())
        });
        (read.is_ok(), tries.get())
    };
    assert_eq!((tries(0), tries(5), tries(255)), ((true, 1), (true, 3), (false, TRIES)));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut memory = Memory::new();
    let leaf = memory.leaf(&[(0, at(9))]);
    // A tree that leads to itself.
    let circle = memory.0.len() as u64;
    memory.inner(&[(0, circle)]);
    memory.finish(leaf, circle);
    assert_eq!(memory.own().expect_err("a circle").kind(), io::ErrorKind::InvalidData);
    assert!(ranges(&memory, ThinId::MAX, ThinId::MAX).is_err(), "no such volume");
    memory.0[0][MAGIC.0] = 0;
    assert_eq!(memory.own().expect_err("no magic").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_node_that_comes_again_is_damage() {
    // A walk that did not record the nodes it saw would visit 200 to the power of 16 nodes.
    let wide = |number: u64| (0..200).map(|key| (key, number)).collect::<Vec<_>>();
    let mut memory = Memory::new();
    let leaf = memory.leaf(&[(0, at(9))]);
    let circle = memory.0.len() as u64;
    memory.inner(&wide(circle));
    let mut other = Memory(memory.0.clone());
    memory.finish(leaf, circle);
    assert_eq!(memory.own().expect_err("a circle").kind(), io::ErrorKind::InvalidData);
    other.finish(circle, leaf);
    assert_eq!(other.own().expect_err("a circle").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn the_last_of_all_blocks_is_damage() {
    let mut memory = Memory::new();
    let origin = memory.leaf(&[]);
    let snapshot = memory.leaf(&[(u64::MAX - 1, at(9)), (u64::MAX, at(9))]);
    memory.finish(origin, snapshot);
    assert_eq!(memory.own().expect_err("no such block").kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn any_metadata_is_read_or_refused(
        pokes in proptest::collection::vec((0usize..6, 0usize..400, any::<u8>()), 0..40),
    ) {
        let mut memory = Memory::new();
        let leaf = memory.leaf(&[(0, at(4)), (1, at(7))]);
        let origin = memory.inner(&[(0, leaf)]);
        let copy = memory.leaf(&[(0, at(7)), (1, at(7))]);
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
        let origin = memory.leaf(&[]);
        let entries: Vec<_> = times.iter().map(|(block, time)| (*block, at(*time))).collect();
        let snapshot = memory.leaf(&entries);
        memory.finish(origin, snapshot);
        let own: Vec<u64> = memory.own().expect("ranges").into_iter().flatten().collect();
        let wanted: Vec<u64> = times.iter().filter(|(_, time)| **time >= 5).map(|(b, _)| *b).collect();
        prop_assert_eq!(own, wanted);
    }
}
