//! The change times of inodes. From them a later walk knows what changed since. Times are compared for equality: a clock that
//! somebody sets makes no later change look like an earlier change.

use std::collections::HashMap;

use rustix::fs::{FileType, Stat};

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::node::{is_whiteout, kind, look, names};
use super::pending::{Pending, Spill};

/// How many times are kept at most: 6 MiB on the disk.
const MOST: usize = 1 << 18;

/// Stands for the time of a removed name.
const REMOVED: (i64, i64) = (i64::MIN, i64::MIN);

/// The change time of each inode. An inode with another time now, or an inode that is not in the list, has changed.
///
/// A change time also changes when an inode gets or loses a name. Overlay makes all whiteouts of a mount names of one inode
/// (fs/overlayfs/dir.c, `ovl_whiteout`), and removes a name of this inode at the next mount. So a removed name is known by its
/// directory and the name itself, and a file with several names by all its attributes but this time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(HashMap<u64, (i64, i64)>);

impl Times {
    /// The bytes that each time takes on the disk.
    pub const LENGTH: usize = 24;

    /// Adds the time of an inode.
    pub fn add(&mut self, stat: &Stat) {
        self.0.insert(stat.st_ino, changed(stat));
    }

    /// Whether the inode is in the list, with the same time.
    pub(super) fn has(&self, stat: &Stat) -> bool {
        self.0.get(&stat.st_ino) == Some(&changed(stat))
    }

    /// Whether the name in an upper directory `dir` has not changed.
    pub(super) fn has_name(&self, dir: &Stat, name: &CStr, stat: &Stat) -> bool {
        if is_whiteout(stat) {
            return self.0.get(&removed(dir.st_ino, name)) == Some(&REMOVED);
        }
        self.has(stat) || self.0.get(&stat.st_ino) == Some(&several(stat))
    }

    /// Whether the inode is in the list, with any time.
    pub(super) fn knows(&self, stat: &Stat) -> bool {
        self.0.contains_key(&stat.st_ino)
    }

    fn add_name(&mut self, dir: &Stat, name: &CStr, stat: &Stat) {
        if is_whiteout(stat) {
            self.0.insert(removed(dir.st_ino, name), REMOVED);
        } else if stat.st_nlink > 1 && kind(stat) != FileType::Directory {
            self.0.insert(stat.st_ino, several(stat));
        } else {
            self.add(stat);
        }
    }

    /// The times of everything below the upper directory `top`. None if there are more than the bound, or if another process
    /// moves directories meanwhile. `spill` opens a file for the names of directories that wait for their turn.
    ///
    /// # Errors
    /// The file system's error.
    pub fn below(top: BorrowedFd<'_>, spill: Spill<'_>) -> Result<Option<Self>, Errno> {
        Self::below_with(top, &mut Pending::new(spill))
    }

    fn below_with(top: BorrowedFd<'_>, waiting: &mut Pending<'_>) -> Result<Option<Self>, Errno> {
        let (mut times, mut cursor) = (Self::default(), Cursor::at_top(top)?);
        // For each directory on the way: the height of the stack without the directories in it that are still to be visited.
        let mut way = vec![waiting.height()];
        times.add_all(&cursor, waiting)?;
        while let Some(above) = way.last() {
            if times.0.len() > MOST {
                return Ok(None);
            }
            if waiting.height() == *above {
                way.pop();
                let depth = way.len().saturating_sub(1);
                cursor.up_to(depth)?;
                if cursor.depth() < depth {
                    return Ok(None);
                }
                continue;
            }
            let Some((name, _)) = waiting.pop()? else { return Err(Errno::IO) };
            match cursor.down(&name) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened?,
            }
            way.push(waiting.height());
            times.add_all(&cursor, waiting)?;
        }
        Ok(Some(times))
    }

    /// Adds everything in a directory. The directories among it wait.
    fn add_all(&mut self, dir: &Cursor, waiting: &mut Pending<'_>) -> Result<(), Errno> {
        let above = rustix::fs::fstat(dir.here())?;
        for name in names(dir.here())? {
            let name = match name {
                // The directory was removed.
                Err(Errno::NOENT) => break,
                name => name?,
            };
            if self.0.len() > MOST {
                break;
            }
            let Some(stat) = look(dir.here(), &name)? else { continue };
            self.add_name(&above, &name, &stat);
            if kind(&stat) == FileType::Directory {
                waiting.push(&name, 0)?;
            }
        }
        Ok(())
    }

    /// The form for the disk: inode, seconds and nanoseconds of each.
    #[must_use]
    pub fn write(&self) -> Vec<[u8; Self::LENGTH]> {
        let bytes = |(inode, (seconds, nanoseconds)): (&u64, &(i64, i64))| {
            let mut bytes = [0; Self::LENGTH];
            bytes[..8].copy_from_slice(&inode.to_le_bytes());
            bytes[8..16].copy_from_slice(&seconds.to_le_bytes());
            bytes[16..].copy_from_slice(&nanoseconds.to_le_bytes());
            bytes
        };
        self.0.iter().map(bytes).collect()
    }

    /// Reads the form for the disk.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let word = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).map(u64::from_le_bytes).ok();
        let one = |bytes: &[u8]| {
            let time = (word(&bytes[8..16])?.cast_signed(), word(&bytes[16..])?.cast_signed());
            Some((word(&bytes[..8])?, time))
        };
        Self(bytes.chunks_exact(Self::LENGTH).filter_map(one).collect())
    }
}

/// The change time, in seconds and nanoseconds.
pub(super) fn changed(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

/// A key for a removed name. The chance that an inode's number equals this key is 1 in 2^64.
fn removed(dir: u64, name: &CStr) -> u64 {
    first(Sha256::new().chain_update(dir.to_le_bytes()).chain_update(name.to_bytes()))
}

/// The attributes of an inode that do not depend on its names. The nanoseconds of a real time are never negative.
fn several(stat: &Stat) -> (i64, i64) {
    let mut hash = Sha256::new();
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    for part in [nanoseconds, stat.st_size, stat.st_rdev.cast_signed()] {
        hash.update(part.to_le_bytes());
    }
    for part in [stat.st_mode, stat.st_uid, stat.st_gid] {
        hash.update(part.to_le_bytes());
    }
    (stat.st_mtime, first(hash).cast_signed() | i64::MIN)
}

fn first(hash: Sha256) -> u64 {
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    fn spill() -> Result<OwnedFd, Errno> {
        Ok(tempfile::tempfile().unwrap().into())
    }

    #[test]
    fn directories_that_wait_are_in_a_file_when_they_are_many() {
        let dir = tempfile::tempdir().unwrap();
        let (wide, deep) = (dir.path().join("wide"), dir.path().join("deep"));
        for n in 0..200 {
            let name = format!("{n:0200}");
            std::fs::create_dir_all(wide.join(&name).join("a/b")).unwrap();
            std::fs::create_dir_all(deep.join("d/".repeat(n)).join(name)).unwrap();
        }
        let (top, spills) = (std::fs::File::open(dir.path()).unwrap(), Cell::new(0));
        let counted = || {
            spills.set(spills.get() + 1);
            spill()
        };
        let mut waiting = Pending::with_piece(&counted, 1000);
        let times = Times::below_with(top.as_fd(), &mut waiting).unwrap().unwrap();
        // `wide` with three for each number; `deep` with one for each number, and 199 that lead there.
        assert_eq!((times.0.len(), spills.get()), (2 + 200 * 3 + 200 + 199, 1));
        assert_eq!(Times::below(top.as_fd(), &|| Err(Errno::NOSPC)), Ok(Some(times)));
    }

    #[test]
    fn a_tree_that_changed_is_told_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join("a/b/c")).unwrap();
        std::fs::write(dir.join("a/b/file"), "").unwrap();
        let top = std::fs::File::open(dir).unwrap();
        let times = Times::below(top.as_fd(), &spill).unwrap().unwrap();
        let stat = |path: &str| rustix::fs::stat(dir.join(path)).unwrap();
        assert!(["a", "a/b", "a/b/c", "a/b/file"].iter().all(|path| times.has(&stat(path))));
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(dir.join("a/b/c/new"), "").unwrap();
        assert!(
            times.has(&stat("a/b")) && !times.has(&stat("a/b/c")) && !times.has(&stat("a/b/c/new"))
        );
    }

    #[test]
    fn a_name_that_comes_or_goes_changes_no_other_name_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for name in ["a", "alone"] {
            std::fs::write(dir.join(name), "text").unwrap();
        }
        ["b", "c"]
            .iter()
            .for_each(|name| std::fs::hard_link(dir.join("a"), dir.join(name)).unwrap());
        let top = std::fs::File::open(dir).unwrap();
        let times =
            Times::read(&Times::below(top.as_fd(), &spill).unwrap().unwrap().write().concat());
        let has = |name: &CStr| {
            let stat = |at| rustix::fs::statat(&top, at, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
            times.has_name(&stat(c".").unwrap(), name, &stat(name).unwrap())
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::remove_file(dir.join("a")).unwrap();
        assert!(has(c"b") && has(c"c") && has(c"alone"));
        std::fs::remove_file(dir.join("c")).unwrap();
        std::fs::hard_link(dir.join("alone"), dir.join("c")).unwrap();
        assert!(has(c"b") && !has(c"c"), "another file");
        std::fs::write(dir.join("b"), "TEXT").unwrap();
        assert!(!has(c"b"), "another content");
    }

    #[test]
    fn it_reads_back() {
        let mut moved = Times::default();
        for path in ["/", "/proc", "/usr"] {
            moved.add(&rustix::fs::stat(path).unwrap());
        }
        let bytes = moved.write().concat();
        assert_eq!(Times::read(&bytes), moved);
        let stat = rustix::fs::stat("/usr").unwrap();
        assert!(moved.has(&stat));
        let mut later = stat;
        later.st_ctime_nsec += 1;
        assert!(!moved.has(&later) && !Times::default().has(&stat));
    }
}
