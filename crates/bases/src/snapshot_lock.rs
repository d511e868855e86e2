//! The lock of one snapshot: a start of its container, and whoever gives the snapshot up, do not overlap.
//!
//! A start looks for what an earlier start left, writes its record and its note, and takes the snapshot; the name of the
//! snapshot is the same at every start. `gc` and `pool drop` delete the snapshot, the record that names it and the note. The
//! lock of the container is not enough for that: `gc` knows the name of the snapshot only, which leads to no container, and
//! there is often no record. An active snapshot cannot be deleted, so a start needs the lock no longer when it has its root.
//!
//! The lock is on one byte of a file that all snapshots share, so no file of a deleted snapshot is left. An open file
//! description owns the lock (fcntl_locking(2)): threads exclude each other as processes do, and the lock ends with its
//! process. The byte is a hash of 63 bits: two snapshots with the same byte only wait for each other.
//!
//! A process takes the lock before any lock of a base or of the pool, or does not wait for it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, F_UNLCK, F_WRLCK, SEEK_SET};
use sha2::{Digest, Sha256};
use sharedroot_dm::VolumeName;
use sharedroot_sys::private_dir::private_dir;

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// A snapshot's lock, held until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct SnapshotLock {
    volume: VolumeName,
    file: File,
}

impl Drop for SnapshotLock {
    fn drop(&mut self) {
        // A process that was forked meanwhile has the same open file. If this fails, the lock ends when the file is closed.
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&self.range(F_UNLCK)));
    }
}

impl SnapshotLock {
    /// The snapshot that is locked; it need not exist.
    #[must_use]
    pub fn volume(&self) -> &VolumeName {
        &self.volume
    }

    fn range(&self, kind: i32) -> libc::flock {
        let digest = Sha256::digest(self.volume.as_ref().as_bytes());
        let byte = digest.iter().take(8).fold(0, |byte, next| (byte << 8) | i64::from(*next));
        let (l_type, l_whence) = (kind as i16, SEEK_SET as i16);
        libc::flock { l_type, l_whence, l_start: byte & i64::MAX, l_len: 1, l_pid: 0 }
    }
}

impl Bases {
    /// Waits for the lock. A start of the snapshot's container holds it until it has its root.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn lock_snapshot(&self, volume: &VolumeName) -> Result<SnapshotLock, RootfsError> {
        let (path, lock) = self.open_snapshot_lock(volume)?;
        loop {
            match fcntl(&lock.file, FcntlArg::F_OFD_SETLKW(&lock.range(F_WRLCK))) {
                Ok(_) => return Ok(lock),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(file("lock", &path)(errno.into())),
            }
        }
    }

    /// The lock, or none if somebody has it.
    pub(crate) fn try_lock_snapshot(
        &self,
        volume: &VolumeName,
    ) -> Result<Option<SnapshotLock>, RootfsError> {
        let (path, lock) = self.open_snapshot_lock(volume)?;
        match fcntl(&lock.file, FcntlArg::F_OFD_SETLK(&lock.range(F_WRLCK))) {
            Ok(_) => Ok(Some(lock)),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(file("lock", &path)(errno.into())),
        }
    }

    fn open_snapshot_lock(
        &self,
        volume: &VolumeName,
    ) -> Result<(PathBuf, SnapshotLock), RootfsError> {
        private_dir(self.run_dir())?;
        let path = self.run_dir().join("snapshots.lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(file("open", &path))?;
        Ok((path, SnapshotLock { volume: volume.clone(), file }))
    }
}
