//! The lock of one snapshot: a start of its container does not overlap with a command that gives the snapshot up.
//!
//! A start looks for what an earlier start left, writes its record and its note, and takes the snapshot; the name of the
//! snapshot is the same at every start. `delete` writes back, and deletes the snapshot, the note and the record; `gc` and
//! `pool drop` delete the same. The lock of the container is not enough for that. `delete` must go on without it where a
//! killed `create` left a process that keeps it. `gc` knows the name of the snapshot only, which leads to no container, and
//! there is often no record. An active snapshot cannot be deleted, so a start needs the lock no longer when it has its root.
//!
//! All snapshots share one file, so a deleted snapshot leaves no lock file. The byte of a snapshot is a hash of 63 bits. Two
//! snapshots with the same byte only wait for each other.
//!
//! A process takes this lock before any lock of a base or of the pool. A process that has such a lock already does not wait for
//! this lock.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sharedroot_dm::VolumeName;
use sharedroot_sys::byte_lock::ByteLock;

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// How long a wait with an end sleeps between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

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
        let (path, byte) = self.place_of_lock(volume);
        let byte = ByteLock::wait(&path, byte).map_err(file("lock", &path))?;
        Ok(SnapshotLock { volume: volume.clone(), _byte: byte })
    }

    /// The lock, or none if somebody has it for longer than `patience`: for whoever must not wait as long as a start takes.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn lock_snapshot_within(
        &self,
        volume: &VolumeName,
        patience: Duration,
    ) -> Result<Option<SnapshotLock>, RootfsError> {
        let end = Instant::now() + patience;
        loop {
            match self.try_lock_snapshot(volume)? {
                None if Instant::now() < end => sleep(PAUSE),
                lock => return Ok(lock),
            }
        }
    }

    /// The lock, or none if somebody has it.
    pub(crate) fn try_lock_snapshot(
        &self,
        volume: &VolumeName,
    ) -> Result<Option<SnapshotLock>, RootfsError> {
        let (path, byte) = self.place_of_lock(volume);
        let byte = ByteLock::try_lock(&path, byte).map_err(file("lock", &path))?;
        Ok(byte.map(|byte| SnapshotLock { volume: volume.clone(), _byte: byte }))
    }

    /// The run directory is there and checked: each command does that before it asks for anything.
    fn place_of_lock(&self, volume: &VolumeName) -> (PathBuf, i64) {
        let digest = Sha256::digest(volume.as_ref().as_bytes());
        let byte = digest.iter().take(8).fold(0, |byte, next| (byte << 8) | i64::from(*next));
        (self.run_dir().join("snapshots.lock"), byte & i64::MAX)
    }
}
