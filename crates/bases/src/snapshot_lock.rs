//! The lock of one snapshot: a start of its container, and whoever gives the snapshot up, do not overlap.
//!
//! A start looks for what an earlier start left, writes its record and its note, and takes the snapshot; the name of the
//! snapshot is the same at every start. `gc` and `pool drop` delete the snapshot, the record that names it and the note. The
//! lock of the container is not enough for that: `gc` knows the name of the snapshot only, which leads to no container, and
//! there is often no record. An active snapshot cannot be deleted, so a start needs the lock no longer when it has its root.
//!
//! All snapshots share one file, so no file of a deleted snapshot is left. The byte of a snapshot is a hash of 63 bits: two
//! snapshots with the same byte only wait for each other.
//!
//! A process takes the lock before any lock of a base or of the pool, or does not wait for it.

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
    /// The snapshot that is locked; it need not exist.
    #[must_use]
    pub fn volume(&self) -> &VolumeName {
        &self.volume
    }
}

impl Bases {
    /// Waits for the lock. A start of the snapshot's container holds it until it has its root.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn lock_snapshot(&self, volume: &VolumeName) -> Result<SnapshotLock, RootfsError> {
        let (path, byte) = self.place_of_lock(volume)?;
        let byte = ByteLock::wait(&path, byte).map_err(file("lock", &path))?;
        Ok(SnapshotLock { volume: volume.clone(), _byte: byte })
    }

    /// The lock, or none if somebody has it.
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
