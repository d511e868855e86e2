//! A pool without room: what must wait for room, and what can be deleted to make room.

use std::path::Path;

use sharedroot_dm::{Error, Pool};
use sharedroot_format::base::JOURNAL_BLOCKS;
use sharedroot_sys::chain::chain;

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// Whether the file system on `device` was not unmounted, or could not be written when it was unmounted.
///
/// # Errors
/// [`RootfsError::File`].
pub(super) fn needs_replay(device: &Path) -> Result<bool, RootfsError> {
    sharedroot_image::needs_replay(device).map_err(file("read the superblock of", device))
}

/// Makes sure that a journal can be replayed onto a volume of `pool`. If the pool runs full during the replay, the kernel
/// empties the journal all the same, and the changes in the journal are lost.
///
/// # Errors
/// An error that [`is_full`] recognises; nothing has changed.
pub(super) fn make_room_for_replay(pool: &Pool) -> Result<(), RootfsError> {
    Ok(pool.make_room_for_blocks(JOURNAL_BLOCKS)?)
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
