//! Whether anybody has changed a file of a snapshot since it was taken. A client mounts the snapshot of a container before the
//! container has a record, to read its users or to make its working directory, and such a mount alone writes a few blocks.
//!
//! Every block of the snapshot that was written is compared with its parent's. The file system is unchanged if they differ only in
//! those fields of the superblock that a mount writes, and in the journal, which is empty in both. So nothing that a mount does not
//! write by itself is missed, whoever wrote it. What cannot be told counts as changed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sharedroot_format::base::BLOCK;

/// The most bytes that are compared. A mount writes one block of the pool for the superblock, and one or two for the journal.
const MOST: u64 = 4 << 20;
/// The most levels below the root of the tree of the journal's extents, and the most extents in it.
const DEEPEST: u16 = 2;
const MOST_EXTENTS: usize = 1024;
/// How much is compared at a time.
const PIECE: usize = 64 << 10;
/// The superblock, from the beginning of the device.
const SUPERBLOCK: Range<usize> = 1024..2048;
/// The fields of the superblock that a mount or its end writes (fs/ext4/ext4.h, `struct ext4_super_block`): `s_mtime`, `s_wtime`,
/// `s_mnt_count`, `s_last_mounted`, `s_kbytes_written`, `s_overhead_clusters`, the high bytes of the two times, `s_checksum`. The
/// field with the flag that the journal holds changes is none of them.
const OF_A_MOUNT: [Range<usize>; 7] =
    [0x2c..0x34, 0x34..0x36, 0x88..0xc8, 0x178..0x180, 0x248..0x24c, 0x274..0x276, 0x3fc..0x400];

/// Whether the snapshot on the device `own` has the same files as its parent on `parents`. `written` are the parts of `own` that
/// may differ. Nobody has either mounted for writing.
///
/// # Errors
/// A device cannot be read.
pub fn is_untouched(own: &Path, parents: &Path, written: &[Range<u64>]) -> io::Result<bool> {
    let bytes = written.iter().map(|range| range.end.saturating_sub(range.start));
    if bytes.fold(0, u64::saturating_add) > MOST {
        return Ok(false);
    }
    same(&File::open(own)?, &File::open(parents)?, written)
}

fn same(own: &File, parents: &File, written: &[Range<u64>]) -> io::Result<bool> {
    let mut superblock = [0; SUPERBLOCK.end - SUPERBLOCK.start];
    parents.read_exact_at(&mut superblock, SUPERBLOCK.start as u64)?;
    let Some(journal) = journal(&superblock, parents)? else { return Ok(false) };
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    for range in written {
        let mut at = range.start;
        while at < range.end {
            let length = PIECE.min(usize::try_from(range.end - at).unwrap_or(PIECE));
            let (ours, theirs) = (&mut ours[..length], &mut theirs[..length]);
            own.read_exact_at(ours, at)?;
            parents.read_exact_at(theirs, at)?;
            for part in [&mut *ours, &mut *theirs] {
                journal.iter().for_each(|range| blank(part, at, range));
                for field in OF_A_MOUNT {
                    let from = SUPERBLOCK.start as u64;
                    blank(part, at, &(from + field.start as u64..from + field.end as u64));
                }
            }
            if ours != theirs {
                return Ok(false);
            }
            at += length as u64;
        }
    }
    Ok(true)
}

/// Makes zeros of what `part`, which begins at `at` of its device, holds of the range.
fn blank(part: &mut [u8], at: u64, range: &Range<u64>) {
    let within =
        |byte: u64| usize::try_from(byte.saturating_sub(at)).unwrap_or(usize::MAX).min(part.len());
    let (from, to) = (within(range.start), within(range.end));
    part[from..to.max(from)].fill(0);
}

/// Where the journal is, from the copy of its inode's extents in the superblock (`s_jnl_blocks`). None for a file system that
/// mke2fs did not make as it makes all of ours.
fn journal(superblock: &[u8], device: &File) -> io::Result<Option<Vec<Range<u64>>>> {
    let is_ours = (two(superblock, 0x38), four(superblock, 0x18)) == (0xef53, 2);
    // EXT4_FEATURE_INCOMPAT_RECOVER: a snapshot of a parent with changes in its journal may have changes of its own there.
    let is_empty = four(superblock, 0x60) & 4 == 0;
    let mut found = Vec::new();
    let is_read = is_ours
        && is_empty
        && superblock[0xfd] == 1
        && extents(&superblock[0x10c..0x10c + 60], DEEPEST, device, &mut found)?;
    Ok(is_read.then_some(found))
}

/// The extents below a node of the tree (`struct ext4_extent_header`, `struct ext4_extent`, `struct ext4_extent_idx`). Returns
/// whether this is such a tree. The depth falls with each level, and the number of extents has a bound, so no tree is endless.
fn extents(
    node: &[u8],
    deepest: u16,
    device: &File,
    found: &mut Vec<Range<u64>>,
) -> io::Result<bool> {
    let (mark, count, depth) = (two(node, 0), usize::from(two(node, 2)), two(node, 6));
    if mark != 0xf30a || depth > deepest || count > (node.len() - 12) / 12 {
        return Ok(false);
    }
    for entry in node[12..].chunks_exact(12).take(count) {
        if depth == 0 {
            let first = four(entry, 8) | u64::from(two(entry, 6)) << 32;
            let from = first.saturating_mul(BLOCK);
            found.push(from..from.saturating_add(u64::from(two(entry, 4)) * BLOCK));
        } else {
            let below = four(entry, 4) | u64::from(two(entry, 8)) << 32;
            let mut block = [0; BLOCK as usize];
            device.read_exact_at(&mut block, below.saturating_mul(BLOCK))?;
            if !extents(&block, depth - 1, device, found)? {
                return Ok(false);
            }
        }
        if found.len() > MOST_EXTENTS {
            return Ok(false);
        }
    }
    Ok(true)
}

fn two(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn four(bytes: &[u8], at: usize) -> u64 {
    u64::from(two(bytes, at)) | u64::from(two(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sharedroot_image::make_empty_filesystem;

    use super::*;

    const SIZE: u64 = 64 << 20;

    /// A file system, and a copy of it that `change` changes.
    fn untouched_after(change: impl FnOnce(&File)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let [parents, own] = ["parents", "own"].map(|name| dir.path().join(name));
        File::create(&parents).unwrap().set_len(SIZE).unwrap();
        make_empty_filesystem(&parents, SIZE).unwrap();
        fs::copy(&parents, &own).unwrap();
        change(&File::options().read(true).write(true).open(&own).unwrap());
        let (own, parents) = (File::open(&own).unwrap(), File::open(&parents).unwrap());
        same(&own, &parents, &[0..SIZE / 2, SIZE / 2..SIZE]).unwrap()
    }

    fn journal_of(file: &File) -> Vec<Range<u64>> {
        let mut superblock = [0; 1024];
        file.read_exact_at(&mut superblock, 1024).unwrap();
        let journal = journal(&superblock, file).unwrap().unwrap();
        let bytes: u64 = journal.iter().map(|range| range.end - range.start).sum();
        assert_eq!(bytes, 4 << 20, "4 MiB, as mke2fs was told");
        journal
    }

    fn flip(own: &File, at: u64) {
        let mut byte = [0];
        own.read_exact_at(&mut byte, at).unwrap();
        own.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
    }

    #[test]
    fn what_a_mount_writes_is_no_change() {
        assert!(untouched_after(|_| {}));
        for field in OF_A_MOUNT {
            let at = 1024 + field.start as u64;
            assert!(untouched_after(|own| own.write_all_at(&[0xa5], at).unwrap()), "{field:x?}");
        }
        assert!(untouched_after(|own| {
            for extent in journal_of(own) {
                own.write_all_at(&[0xa5; 4096], extent.start).unwrap();
                own.write_all_at(&[0xa5; 4096], extent.end - 4096).unwrap();
            }
        }));
    }

    #[test]
    fn anything_else_is_a_change() {
        // `s_feature_incompat` tells that the journal holds changes; the state; the bytes beside fields of a mount.
        let fields = [0x60, 0x3a, 0x2b, 0x36, 0x280].map(|at| 1024 + at);
        for at in fields.into_iter().chain([0, 1023, 2048, 4096, SIZE - 1]) {
            assert!(!untouched_after(|own| flip(own, at)), "{at}");
        }
        for end in [true, false] {
            assert!(!untouched_after(|own| {
                let journal = journal_of(own);
                let beside = |range: &Range<u64>| if end { range.end } else { range.start - 1 };
                let is_beside = |at: &u64| journal.iter().all(|range| !range.contains(at));
                flip(own, journal.iter().map(beside).find(is_beside).unwrap());
            }));
        }
    }

    #[test]
    fn what_is_no_file_system_of_ours_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zeros");
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        assert!(!is_untouched(&path, &path, &[0..2048, 2048..4096]).unwrap());
        make_empty_filesystem(&path, SIZE).unwrap();
        assert!(is_untouched(&path, &path, &[0..4096, 65_536..MOST]).unwrap());
        assert!(!is_untouched(&path, &path, &[0..MOST, 0..1]).unwrap(), "too much to compare");
    }

    #[test]
    fn a_parent_with_changes_in_its_journal_has_no_untouched_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recover");
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        make_empty_filesystem(&path, SIZE).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert!(same(&file, &file, &[0..2048, 2048..4096]).unwrap());
        let mut byte = [0];
        file.read_exact_at(&mut byte, 1024 + 0x60).unwrap();
        file.write_all_at(&[byte[0] | 4], 1024 + 0x60).unwrap();
        assert!(!same(&file, &file, &[0..2048, 2048..4096]).unwrap());
    }
}
