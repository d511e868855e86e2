//! The lock of one snapshot: a start of its container does not overlap with a command that gives the snapshot up.
//!
//! A start looks for what an earlier start left, writes its record and its note, and takes the snapshot; the name of the
//! snapshot is the same at every start. `gc` and `pool drop` delete the snapshot, the record that names it and the note. The
//! lock of the container is not enough for that: `gc` knows only the name of the snapshot, which leads to no container, and
//! often there is no record. An active snapshot cannot be deleted, so a start releases the lock when it has its root.
//!
//! All snapshots share one file, so a deleted snapshot leaves no lock file. The byte of a snapshot is a hash of 63 bits. Two
//! snapshots with the same byte only wait for each other.
//!
//! A process takes this lock before any lock of a base or of the pool. A process that has such a lock already does not wait for
//! this lock.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use sharedroot_dm::VolumeName;
use sharedroot_sys::byte_lock::ByteLock;
use sharedroot_sys::private_dir::private_dir;

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// A snapshot's lock, held until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct SnapshotLock {
    volume: VolumeName,
    _byte: ByteLock,
}

impl SnapshotLock {
    /// The snapshot that is locked. It need not exist.
    #[must_use]
    pub fn volume(&self) -> &VolumeName {
        &self.volume
    }
}

impl Bases {
    /// Takes the lock, and waits for it. A start of the snapshot's container holds the lock until the container has its root.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn lock_snapshot(&self, volume: &VolumeName) -> Result<SnapshotLock, RootfsError> {
        let (path, byte) = self.place_of_lock(volume)?;
        let byte = ByteLock::wait(&path, byte).map_err(file("lock", &path))?;
        Ok(SnapshotLock { volume: volume.clone(), _byte: byte })
    }

    /// Takes the lock, or returns `None` if another process holds it.
    pub(crate) fn try_lock_snapshot(
        &self,
        volume: &VolumeName,
    ) -> Result<Option<SnapshotLock>, RootfsError> {
        let (path, byte) = self.place_of_lock(volume)?;
        let byte = ByteLock::try_lock(&path, byte).map_err(file("lock", &path))?;
        Ok(byte.map(|byte| SnapshotLock { volume: volume.clone(), _byte: byte }))
    }

    fn place_of_lock(&self, volume: &VolumeName) -> Result<(PathBuf, i64), RootfsError> {
        private_dir(self.run_dir())?;
        let digest = Sha256::digest(volume.as_ref().as_bytes());
        let byte = digest.iter().take(8).fold(0, |byte, next| (byte << 8) | i64::from(*next));
        Ok((self.run_dir().join("snapshots.lock"), byte & i64::MAX))
    }
}
