//! How much of the pool a volume's mappings take. The kernel's status line of an active thin volume tells it, and for any volume the
//! pool's metadata, as it was at the pool's last commit. The kernel commits at least once a second while the pool is written
//! (`COMMIT_PERIOD` in dm-thin.c).
//!
//! Format of the line: `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Status" of the thin target, and
//! `thin_status()` in dm-thin.c.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::str::FromStr;

use nix::errno::Errno;
use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;

use crate::error::Error;
use crate::metadata_tree::{
    Blocks, Child, DEEPEST, DETAILS, Node, at_one_time, find, number_at, once, open_direct,
    superblock, walk,
};
use crate::names::ThinId;
use crate::pool::Pool;
use crate::store::Phase;
use crate::units::Bytes;

/// The status line of a thin volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinLine {
    Working {
        /// The sectors that are mapped, also those of blocks that other volumes share.
        mapped: u64,
        /// The last mapped sector; none if nothing is mapped.
        highest: Option<u64>,
    },
    /// The kernel prints `Fail` for a volume of a pool that it gave up, and `Error` where it could not read the figures.
    Broken(&'static str),
}

/// A text that is no status line of a thin volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no status line of a thin volume")]
pub(crate) struct NotAThinLine;

impl FromStr for ThinLine {
    type Err = NotAThinLine;

    fn from_str(line: &str) -> Result<Self, NotAThinLine> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| NotAThinLine);
        match line.trim_end() {
            "Fail" => Ok(Self::Broken("Fail")),
            "Error" => Ok(Self::Broken("Error")),
            line => {
                let (mapped, highest) = line.split_once(' ').ok_or(NotAThinLine)?;
                let highest = if highest == "-" { None } else { Some(number(highest)?) };
                Ok(Self::Working { mapped: number(mapped)?, highest })
            }
        }
    }
}

impl fmt::Display for ThinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Working { mapped, highest: Some(highest) } => write!(f, "{mapped} {highest}"),
            Self::Working { mapped, highest: None } => write!(f, "{mapped} -"),
            Self::Broken(word) => f.write_str(word),
        }
    }
}

/// The size of `struct disk_device_details`, whose first field is `mapped_blocks`.
const DETAILS_SIZE: usize = 24;

/// How many blocks of a volume are mapped, in as many reads as the tree of all volumes has levels.
fn mapped_blocks(blocks: &impl Blocks, id: ThinId) -> io::Result<u64> {
    at_one_time(blocks, |blocks| {
        let details = number_at(&superblock(blocks)?, DETAILS);
        let (leaf, index) = find(blocks, details, id)?;
        count_at(&leaf, index)
    })
}

/// The same of each volume of the pool, by its thin id. Reads some ten volumes at a time.
pub(crate) fn all_mapped_blocks(blocks: &impl Blocks) -> io::Result<BTreeMap<u64, u64>> {
    at_one_time(blocks, |blocks| {
        let (mut all, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let details = number_at(&superblock(blocks)?, DETAILS);
        walk(blocks, details, DEEPEST, &mut |node, child| {
            if let Child::Node(child) = child {
                return once(&mut seen, child);
            }
            if let Child::Entry(index) = child {
                all.insert(node.key(index), count_at(node, index)?);
            }
            Ok(true)
        })?;
        Ok(all)
    })
}

fn count_at(leaf: &Node, index: usize) -> io::Result<u64> {
    leaf.value(index, DETAILS_SIZE).map(|details| number_at(details, 0))
}

impl Pool {
    /// The size of what is mapped in a volume, in one call of the kernel or a few reads of the metadata, whatever the size. Blocks
    /// that the volume shares with its origin or its snapshots count. `None` if there is no such volume, or if the pool is not active
    /// or cannot be read; then the reason is in the log.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn mapped(&self, name: &VolumeName) -> Result<Option<Bytes>, Error> {
        let Some(row) = self.row(name)?.filter(|row| row.phase == Phase::Ready) else {
            return Ok(None);
        };
        let identity = self.identity_of(&row);
        let failed = |source| {
            let (volume, pool) = (name.clone(), self.config.name.clone());
            Error::Find { volume, pool, source }
        };
        let line = match self.kernel.status(&identity.name) {
            Ok((device, line)) if device.uuid == identity.uuid && device.live => line,
            Ok(_) => return Ok(self.read_mapped(row.id)),
            Err(error) if error.errno() == Some(Errno::ENXIO) => {
                return Ok(self.read_mapped(row.id));
            }
            Err(error) => return Err(failed(error)),
        };
        match line.parse() {
            Ok(ThinLine::Working { mapped, .. }) => Ok(Some(Bytes(mapped.saturating_mul(512)))),
            Ok(ThinLine::Broken(_)) => Ok(None),
            Err(NotAThinLine) => Err(Error::VolumeStatus { volume: name.clone(), line }),
        }
    }

    /// The same of all volumes at one moment. `None` if the pool is not active, or cannot be read; then the reason is in the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn mapped_of_all(&self) -> Result<Option<BTreeMap<VolumeName, Bytes>>, Error> {
        let rows = self.store.volumes(&self.config.name)?;
        let all = self.in_metadata(all_mapped_blocks);
        Ok(all.map(|all| {
            let size = |id: ThinId| Some(self.of_blocks(*all.get(&u64::from(id.get()))?));
            rows.into_iter().filter_map(|row| Some((row.name, size(row.id)?))).collect()
        }))
    }

    fn read_mapped(&self, id: ThinId) -> Option<Bytes> {
        self.in_metadata(|blocks| mapped_blocks(blocks, id)).map(|count| self.of_blocks(count))
    }

    fn of_blocks(&self, count: u64) -> Bytes {
        Bytes(count.saturating_mul(self.block.0))
    }

    fn in_metadata<T>(&self, read: impl FnOnce(&std::fs::File) -> io::Result<T>) -> Option<T> {
        let pool = &self.config.name;
        let node = self.metadata_node().inspect_err(|error| {
            tracing::debug!(%pool, "find the metadata of the pool: {}", chain(error));
        });
        let found = open_direct(&node.ok()?).and_then(|file| read(&file));
        let told =
            |error: &io::Error| tracing::debug!(%pool, %error, "read the metadata of the pool");
        found.inspect_err(told).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata_tree::memory::Memory;

    #[test]
    fn lines_of_real_kernels() {
        let line = |text: &str| text.parse::<ThinLine>();
        assert_eq!(line("0 -"), Ok(ThinLine::Working { mapped: 0, highest: None }));
        assert_eq!(
            line("2048 20971519 "),
            Ok(ThinLine::Working { mapped: 2048, highest: Some(20_971_519) })
        );
        assert_eq!(line("Fail"), Ok(ThinLine::Broken("Fail")));
        for wrong in ["", "-", "7", "7 8 9", "x -", "-1 -"] {
            assert_eq!(line(wrong), Err(NotAThinLine), "{wrong:?}");
        }
    }

    #[test]
    fn the_metadata_tell_what_is_mapped() {
        let mut memory = Memory::new();
        let leaf = memory.leaf(&[(0, 99 << 24)]);
        memory.finish(leaf, leaf);
        let id = |id| ThinId::new(id).expect("24 bits");
        assert_eq!(mapped_blocks(&memory, id(3)).expect("a number"), 30);
        assert_eq!(mapped_blocks(&memory, id(7)).expect("a number"), 70);
        let none = mapped_blocks(&memory, id(4)).expect_err("no such volume");
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        assert_eq!(all_mapped_blocks(&memory).expect("all"), BTreeMap::from([(3, 30), (7, 70)]));
    }

    /// Counts the blocks that are read.
    struct Counted(Memory, std::cell::Cell<usize>);

    impl Blocks for Counted {
        fn block(&self, number: u64) -> io::Result<crate::metadata_tree::Block> {
            self.1.set(self.1.get() + 1);
            self.0.block(number)
        }
    }

    #[test]
    fn ten_thousand_volumes_are_few_reads() {
        let mut memory = Memory::new();
        memory.finish_many(10_000);
        let memory = Counted(memory, std::cell::Cell::new(0));
        let id = ThinId::new(9_999).expect("24 bits");
        assert_eq!(mapped_blocks(&memory, id).expect("a number"), 99_990);
        // The superblock before, in and after the look, the root, and a leaf.
        assert_eq!(memory.1.replace(0), 5);
        assert_eq!(all_mapped_blocks(&memory).expect("all").len(), 10_000);
        assert!(memory.1.get() < 200, "{} reads", memory.1.get());
    }

    proptest! {
        #[test]
        fn a_line_survives_the_round_trip(mapped in any::<u64>(), highest in any::<Option<u64>>()) {
            let line = ThinLine::Working { mapped, highest };
            prop_assert_eq!(line.to_string().parse::<ThinLine>(), Ok(line));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            if let Ok(line) = text.parse::<ThinLine>() {
                prop_assert_eq!(line.to_string().parse::<ThinLine>(), Ok(line));
            }
        }
    }
}
