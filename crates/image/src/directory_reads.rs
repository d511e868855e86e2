//! How much mke2fs and debugfs read of directories. mke2fs reads a directory from its beginning for each new name in it, and
//! debugfs reads the directories on the way to a file for each command (e2fsprogs, lib/ext2fs/link.c and lookup.c). So the time
//! grows with the square of a directory's size: minutes for 50,000 names, hours for 500,000.

use std::path::Path;

use sharedroot_format::base::BLOCK;

use crate::error::MakeError;

/// How many blocks of directories the programs may read for one image. A block takes 10 to 14 µs of a CPU, and so these take up
/// to four minutes: one directory of 69,000 names of 20 bytes, or of 22,000 names of 255 bytes.
const MOST_BLOCKS: u64 = 1 << 24;

/// What a block of a directory has for names, in bytes: a checksum takes the rest (fs/ext4/ext4.h, `ext4_dir_entry_tail`).
const ROOM: u64 = BLOCK - 12;
/// What a name takes besides its bytes (fs/ext4/ext4.h, `ext4_dir_entry_2`).
const ENTRY: u64 = 8;

/// A directory of a base as it grows.
#[derive(Debug)]
pub(super) struct Directory {
    blocks: u64,
    /// How many bytes of the last block are taken.
    taken: u64,
}

impl Default for Directory {
    fn default() -> Self {
        // `.` and `..`
        Self { blocks: 1, taken: 2 * (ENTRY + 4) }
    }
}

impl Directory {
    fn add(&mut self, name: &[u8]) {
        let entry = (ENTRY + name.len() as u64).next_multiple_of(4);
        if self.taken + entry > ROOM {
            (self.blocks, self.taken) = (self.blocks + 1, 0);
        }
        self.taken += entry;
    }

    /// What the directory takes in the base.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks * BLOCK
    }
}

/// Counts the blocks that are read, which have a bound.
#[derive(Debug)]
pub(super) struct DirectoryReads {
    most: u64,
    blocks: u64,
    /// The blocks of the directories on the way to where the walk is, each with those above it.
    way: Vec<u64>,
}

impl Default for DirectoryReads {
    fn default() -> Self {
        Self { most: MOST_BLOCKS, blocks: 0, way: Vec::new() }
    }
}

impl DirectoryReads {
    #[cfg(test)]
    pub(super) fn bounded(most: u64) -> Self {
        Self { most, ..Self::default() }
    }

    /// Counts what mke2fs reads for a new name in the directory at `path`.
    pub(super) fn add_name(
        &mut self,
        directory: &mut Directory,
        name: &[u8],
        path: &Path,
    ) -> Result<(), MakeError> {
        directory.add(name);
        self.add(directory.blocks, path)
    }

    /// Counts what debugfs reads for `commands` about files in the directory at `path`, which has `depth` directories above it
    /// and is complete now.
    pub(super) fn leave(
        &mut self,
        directory: &Directory,
        depth: usize,
        commands: usize,
        path: &Path,
    ) -> Result<(), MakeError> {
        self.way.truncate(depth);
        let way = self.way.last().copied().unwrap_or(0) + directory.blocks;
        self.way.push(way);
        self.add(way.saturating_mul(commands as u64), path)
    }

    fn add(&mut self, blocks: u64, path: &Path) -> Result<(), MakeError> {
        self.blocks = self.blocks.saturating_add(blocks);
        if self.blocks > self.most {
            let gib = (self.most * BLOCK) >> 30;
            return Err(MakeError::LargeDirectories { path: path.to_owned(), gib });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of one directory of names with so many bytes, and the blocks that mke2fs reads for it.
    fn of(names: usize, bytes: usize) -> (u64, u64) {
        let (mut reads, mut directory) = (DirectoryReads::default(), Directory::default());
        let name = vec![b'x'; bytes];
        for _ in 0..names {
            reads.add_name(&mut directory, &name, Path::new("a")).unwrap();
        }
        (directory.blocks, reads.blocks)
    }

    #[test]
    fn the_reads_grow_with_the_square_of_the_names() {
        // 15 names of 264 bytes in a block, also beside `.` and `..`.
        assert_eq!(of(15, 255), (1, 15));
        assert_eq!(of(16, 255), (2, 17));
        assert_eq!(of(22_000, 255).1 / 1000, 16_144);
        assert_eq!(of(69_000, 20).1 / 1000, 16_451);
        const { assert!(16_451_000 < MOST_BLOCKS && MOST_BLOCKS < 17_000_000) };
    }

    #[test]
    fn a_command_reads_the_directories_above_too() {
        let mut reads = DirectoryReads::bounded(19);
        let (large, small) = (Directory { blocks: 6, taken: 0 }, Directory::default());
        reads.leave(&large, 0, 0, Path::new(".")).unwrap();
        reads.leave(&small, 1, 1, Path::new("a")).unwrap();
        assert_eq!(reads.blocks, 7);
        reads.leave(&small, 1, 1, Path::new("b")).unwrap();
        reads.leave(&small, 2, 0, Path::new("b/c")).unwrap();
        assert_eq!((reads.blocks, reads.way.as_slice()), (14, &[6, 7, 8][..]));
        reads.add(5, Path::new("b/c")).unwrap();
        let error = reads.add(1, Path::new("b/c")).unwrap_err();
        assert!(matches!(error, MakeError::LargeDirectories { .. }), "{error}");
    }
}
