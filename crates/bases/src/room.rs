//! A pool without room: what must wait for room, and what can be deleted to make room.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sharedroot_dm::{Bytes, Error, Pool, PoolMode};
use sharedroot_format::base::JOURNAL_BLOCKS;
use sharedroot_sys::chain::chain;

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// The offset, in ext4's superblock, of the features that a kernel must know. One feature says that the journal holds changes
/// that are not in the file system yet (Documentation/filesystems/ext4/super.rst).
const INCOMPATIBLE: u64 = 1024 + 0x60;
const RECOVER: u32 = 0x4;

/// Whether the file system on `device` was not unmounted, or could not be written when it was unmounted.
///
/// # Errors
/// [`RootfsError::File`].
pub(super) fn needs_replay(device: &Path) -> Result<bool, RootfsError> {
    let mut features = [0; 4];
    let read = File::open(device).and_then(|disk| disk.read_exact_at(&mut features, INCOMPATIBLE));
    read.map_err(file("read the superblock of", device))?;
    Ok(u32::from_le_bytes(features) & RECOVER != 0)
}

/// Makes sure that a journal can be replayed onto a volume of `pool`. If the pool runs full during the replay, the kernel
/// empties the journal all the same, and the changes in the journal are lost.
///
/// # Errors
/// An error that [`is_full`] recognises; nothing has changed.
pub(super) fn make_room_for_replay(pool: &Pool) -> Result<(), RootfsError> {
    let status = pool.status()?;
    // Each block of the journal takes at most one new block of the pool.
    let most = Bytes(JOURNAL_BLOCKS * status.block.0);
    let free = status.data.map_or(0, |data| data.total - data.used);
    if status.mode == PoolMode::ReadWrite && free >= JOURNAL_BLOCKS {
        return Ok(());
    }
    Ok(pool.make_room(most)?)
}

/// Whether the error means that the pool has no room.
pub(super) fn is_full(error: &Error) -> bool {
    matches!(error, Error::Full { .. } | Error::TooSmall { .. })
}

impl Bases {
    /// Calls `act`. If the pool has no room and [`Bases::reclaim`] makes some, calls `act` a second time.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub(super) fn with_room<'b, T>(
        &'b self,
        act: impl Fn(&'b Pool) -> Result<T, Error>,
    ) -> Result<T, RootfsError> {
        let pool = self.pool()?;
        match act(pool) {
            Err(error) if is_full(&error) && self.reclaim()? => Ok(act(pool)?),
            done => Ok(done?),
        }
    }

    /// Deletes the snapshots whose changes waited for room and whose containers are gone. Returns whether any were deleted.
    fn reclaim(&self) -> Result<bool, RootfsError> {
        let mut any = false;
        for name in self.notes().volumes()? {
            let Some(_lock) = self.try_lock_snapshot(&name)? else { continue };
            if !self.notes().read(&name)?.is_some_and(|note| note.is_obsolete()) {
                continue;
            }
            match self.pool()?.delete(&name) {
                Ok(_) => {
                    self.notes().remove(&name)?;
                    any = true;
                }
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_system_says_whether_its_journal_must_be_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let run = |program: &str, words: &[&str]| {
            let done = Command::new(program).args(words).arg(&image).status().unwrap();
            assert!(done.success(), "{program} {words:?}");
        };
        run("mke2fs", &["-q", "-t", "ext4"]);
        assert!(!needs_replay(&image).unwrap());
        run("debugfs", &["-w", "-R", "feature needs_recovery"]);
        assert!(needs_replay(&image).unwrap());
        std::fs::remove_file(&image).unwrap();
        assert!(needs_replay(&image).is_err());
    }
}
