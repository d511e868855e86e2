//! The functions that the fuzz targets call. Each function passes input of others to the code that parses it, and panics if the
//! result breaks a promise of that code. The targets in `fuzz/` give random bytes. The tests below give the seeds, and damaged
//! seeds.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use sharedroot_format::{PoolName, VolumeName};

use crate::backing::signature;
use crate::mapped::ThinLine;
use crate::mapped::all_mapped_blocks;
use crate::metadata_tree::memory::Memory;
use crate::names::{DmIdentity, LvmPool};
use crate::status::StatusLine;
use crate::superblock::Superblock;
use crate::table::PoolTable;

/// Parses the kernel's lines about a pool, the names that an administrator gives, and the first bytes of a device.
///
/// # Panics
/// If the code breaks a promise.
pub fn pool(bytes: &[u8]) {
    let superblock = Superblock::parse(bytes);
    assert!(superblock.is_none() || signature::found(bytes).is_some(), "metadata is something");

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    round_trip::<StatusLine>(text);
    round_trip::<ThinLine>(text);
    round_trip::<PoolTable>(text);
    if let Some(pool) = round_trip::<LvmPool>(text) {
        assert_eq!(pool.to_string(), text);
        assert!(!pool.dm_name().contains('/'), "{}", pool.dm_name());
    }
    if let Some(name) = round_trip::<PoolName>(text) {
        is_part_of_a_name(name.as_ref(), text);
    }
    if let Some(name) = round_trip::<VolumeName>(text) {
        is_part_of_a_name(name.as_ref(), text);
    }
    let pool: PoolName = "default".parse().expect("a name");
    if let Some(volume) = DmIdentity::volume_of(&pool, text) {
        assert_eq!(pool.device_of(&volume), text, "a device leads to one volume");
    }
}

/// Parses a text. A parsed value must print as a text that parses to the same value, and an error must have words.
fn round_trip<T: FromStr<Err: Error> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse::<T>().ok().as_ref(), Some(&value));
            Some(value)
        }
        Err(error) => {
            assert!(error.to_string().chars().any(char::is_alphabetic), "{text:?}: no words");
            None
        }
    }
}

fn is_part_of_a_name(name: &str, text: &str) {
    assert_eq!(name, text);
    assert!(!name.is_empty() && name.len() <= 80 && !name.starts_with(['.', '-']), "{name:?}");
    assert!(!name.contains(['/', '\0', ' ', '\n']), "{name:?}");
}

/// Damages a pool's metadata and reads what is mapped, and its exclusive blocks. Each 11 bytes of `damage` are the number of a block, an offset in
/// the block (2 bytes), and the 8 bytes to write there.
///
/// # Panics
/// If the code breaks a promise.
pub fn metadata(damage: &[u8]) {
    let mut memory = Memory::new();
    let data = |time: u64| 99 << 24 | time;
    let first = memory.leaf(&[(0, data(2)), (1, data(2))]);
    let old = memory.leaf(&[(10, data(1)), (11, data(4))]);
    let new = memory.leaf(&[(10, data(5)), (11, data(6)), (12, data(4))]);
    let origin = memory.inner(&[(0, first), (10, old)]);
    let snapshot = memory.inner(&[(0, first), (10, new)]);
    memory.finish(origin, snapshot);
    for piece in damage.chunks_exact(11) {
        let bytes = piece[3..].try_into().expect("8 bytes");
        let at = usize::from(u16::from_le_bytes([piece[1], piece[2]]));
        memory.poke(usize::from(piece[0]), at, bytes);
    }
    let _ = all_mapped_blocks(&memory);
    for range in memory.own().unwrap_or_default() {
        assert!(range.start < range.end, "{range:?} is empty or ends before it begins");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::test_runner::{RngSeed, TestRunner};

    use super::*;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        let list = fs::read_dir(&dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
        let mut paths: Vec<_> = list.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no seeds for {target}");
        paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
    }

    #[test]
    fn every_seed_is_read_or_refused() {
        seeds("pool").iter().for_each(|seed| pool(seed));
        seeds("metadata").iter().for_each(|seed| metadata(seed));
    }

    /// The damage is the same on every run, so that a failure can be repeated. `hack/fuzz` tries random damage.
    #[test]
    fn damaged_seeds_are_read_or_refused() {
        let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
        let fixed = ProptestConfig {
            cases: 500,
            rng_seed: RngSeed::Fixed(27364),
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        for (name, target) in [("pool", pool as fn(&[u8])), ("metadata", metadata)] {
            let input = (prop::sample::select(seeds(name)), damage.clone());
            let run = TestRunner::new(fixed.clone()).run(&input, |(mut bytes, damage)| {
                for (at, byte) in damage {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                target(&bytes);
                Ok(())
            });
            run.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
