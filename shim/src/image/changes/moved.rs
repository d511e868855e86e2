//! Inodes that changed before the container began: of a snapshot whose tree was moved (`rootfs/overlaid.rs`).

use std::collections::HashMap;

use rustix::fs::Stat;

/// The change time of each, by inode. One that has another time now was changed by the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved(HashMap<u64, (i64, i64)>);

impl Moved {
    /// The length of one of them on the disk.
    pub const LENGTH: usize = 24;

    /// Adds one.
    pub fn add(&mut self, stat: &Stat) {
        self.0.insert(stat.st_ino, changed(stat));
    }

    /// Whether the inode is one of them, and as it was.
    pub(super) fn has(&self, stat: &Stat) -> bool {
        self.0.get(&stat.st_ino) == Some(&changed(stat))
    }

    /// For the disk: inode, seconds and nanoseconds of each.
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

    /// From the disk.
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

fn changed(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back() {
        let mut moved = Moved::default();
        for path in ["/", "/proc", "/usr"] {
            moved.add(&rustix::fs::stat(path).unwrap());
        }
        let bytes = moved.write().concat();
        assert_eq!(Moved::read(&bytes), moved);
        let stat = rustix::fs::stat("/usr").unwrap();
        assert!(moved.has(&stat));
        let mut later = stat;
        later.st_ctime_nsec += 1;
        assert!(!moved.has(&later) && !Moved::default().has(&stat));
    }
}
