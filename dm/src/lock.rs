//! The locks between processes, and the directories of the locks and the store.
//!
//! A process takes locks in this order only: a volume's lock, its origin's lock, the lock of the metadata's reader, the pool's
//! lock, the store's write transaction.
//! * A process holds a volume's lock while it creates, activates or deletes the volume, and also while it fills a new volume.
//!   The kernel releases the lock when the process dies. So [`reconcile`](crate::Pool::reconcile) knows a volume that is being
//!   created from a half-created one.
//! * A process holds the pool's lock for one change, which takes some milliseconds, and never while a caller fills a volume.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sharedroot_format::{PoolName, VolumeName};
use sharedroot_sys::byte_lock::ByteLock;
use sharedroot_sys::private_dir::{PrivateDirError, private_dir_or_link};

use crate::error::Error;
use crate::names::fnv1a;

/// How long to wait for a volume's lock. An activation and a reconcile hold this lock only for a moment. A process that holds
/// the lock longer creates or deletes the volume.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lock of the run directory: [`ByteLock`], with this crate's errors. Dropping this value releases the lock.
#[derive(Debug)]
pub(crate) struct Lock(ByteLock);

impl Lock {
    /// The pool's lock. Waits until its holder releases it.
    pub(crate) fn pool(run_dir: &Path, pool: &PoolName) -> Result<Self, Error> {
        Self::wait(run_dir.join(format!("pool-{pool}.lock")))
    }

    /// The lock of the process that reads the metadata of an active pool from the reserved metadata snapshot. Waits until its
    /// holder releases it.
    pub(crate) fn reader(run_dir: &Path, pool: &PoolName) -> Result<Self, Error> {
        Self::wait(run_dir.join(format!("pool-{pool}.reader.lock")))
    }

    /// The lock of the process that creates or migrates the store. Waits until its holder releases it.
    pub(crate) fn store(run_dir: &Path) -> Result<Self, Error> {
        Self::wait(run_dir.join("store.lock"))
    }

    /// A volume's lock; `None` if somebody holds it. All volumes share one file, so that no file of a deleted volume is left.
    /// The byte is a hash of 63 bits. Two volumes with the same byte would only wait for each other.
    pub(crate) fn try_volume(
        run_dir: &Path,
        pool: &PoolName,
        volume: &VolumeName,
    ) -> Result<Option<Self>, Error> {
        let byte = fnv1a(&[pool.as_ref(), "\0", volume.as_ref()]) & i64::MAX as u64;
        let path = run_dir.join("volumes.lock");
        let tried = ByteLock::try_lock(&path, byte as i64);
        tried.map(|lock| lock.map(Self)).map_err(|source| Error::Lock { path, source })
    }

    /// A volume's lock. Waits up to [`PATIENCE`] for its holder.
    ///
    /// # Errors
    /// [`Error::VolumeLocked`] if another process holds the lock longer.
    pub(crate) fn volume(
        run_dir: &Path,
        pool: &PoolName,
        volume: &VolumeName,
    ) -> Result<Self, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::try_volume(run_dir, pool, volume)? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                return Err(Error::VolumeLocked { volume: volume.clone(), pool: pool.clone() });
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn wait(path: PathBuf) -> Result<Self, Error> {
        ByteLock::wait(&path, 0).map(Self).map_err(|source| Error::Lock { path, source })
    }
}

impl AsRef<File> for Lock {
    fn as_ref(&self) -> &File {
        self.0.as_ref()
    }
}

/// [`private_dir_or_link`], with this crate's errors: the directory's files decide what root mounts.
///
/// # Errors
/// [`Error::OpenDirectory`] if somebody else owns the directory or can write it.
pub(crate) fn private_dir(dir: &Path) -> Result<(), Error> {
    private_dir_or_link(dir).map_err(|error| match error {
        PrivateDirError::File { path, source, .. } => Error::Directory { path, source },
        PrivateDirError::Unsafe { path, owner, mode } => {
            Error::OpenDirectory { path, uid: owner, mode }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn dir(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("sharedroot-dm-lock-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        private_dir(&dir).expect("a directory");
        dir
    }

    #[test]
    fn a_volume_has_one_maker_and_leaves_no_file() {
        let run = dir("maker");
        let (pool, volume) = ("p".parse().expect("a name"), "v".parse().expect("a name"));
        let free = |volume: &VolumeName| Lock::try_volume(&run, &pool, volume).expect("a try");
        let first = Lock::volume(&run, &pool, &volume).expect("the lock");
        assert!(free(&volume).is_none());
        let others: Vec<VolumeName> =
            (0..999).map(|n| format!("v{n}").parse().expect("a name")).collect();
        let held: Vec<_> = others.iter().map(|volume| free(volume).expect("its own")).collect();
        // A copy of the descriptor, such as a child has between fork and exec.
        let copy = first.as_ref().try_clone().expect("a copy");
        drop((first, held));
        assert!(free(&volume).is_some(), "free though {copy:?} is open");
        let files: Vec<_> =
            fs::read_dir(&run).expect("a list").map(|f| f.expect("a file").path()).collect();
        assert_eq!(files, [run.join("volumes.lock")]);
        fs::remove_dir_all(run).expect("removed");
    }

    #[test]
    fn the_pools_lock_is_waited_for() {
        let run = dir("pool");
        let pool = "p".parse().expect("a name");
        let count = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::pool(&run, &pool).expect("the lock");
                        let now = count.load(std::sync::atomic::Ordering::Relaxed);
                        std::thread::yield_now();
                        count.store(now + 1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 400, "one at a time");
        fs::remove_dir_all(run).expect("removed");
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let open = dir("open");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).expect("a mode");
        assert!(matches!(private_dir(&open), Err(Error::OpenDirectory { mode: 0o770, .. })));
        fs::remove_dir_all(open).expect("removed");
    }
}
