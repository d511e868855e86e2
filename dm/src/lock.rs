//! The locks between processes, and the directories they and the store lie in.
//!
//! Order, always from the left: a volume's lock, its origin's lock, the reader's turn, the pool's lock, the store's write
//! transaction.
//! * A volume's lock says that somebody makes, activates or deletes it. A maker holds it as long as it fills the volume, and
//!   the kernel lets go of it when the maker dies: that is how [`reconcile`](crate::Pool::reconcile) tells a volume that is
//!   being made from a half-made one.
//! * The pool's lock is held for one change (some milliseconds), never while a caller fills a volume.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use crate::error::Error;
use crate::names::{PoolName, VolumeName};

/// How long a short holder (an activation, a probe of reconcile) is waited for before a volume counts as being made.
const PATIENCE: Duration = Duration::from_secs(2);

/// A held lock file. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Flock<File>,
    path: PathBuf,
    forgotten: AtomicBool,
}

impl Lock {
    /// The pool's lock; waits for its holder.
    pub(crate) fn pool(run_dir: &Path, pool: &PoolName) -> Result<Self, Error> {
        let path = run_dir.join(format!("pool-{pool}.lock"));
        let lock = Self::take(&path, FlockArg::LockExclusive)
            .map_err(|source| Error::Lock { path, source })?;
        Ok(lock.expect("a waiting flock returns with the lock"))
    }

    /// The lock of whoever reads a live pool's metadata, from its reserved snapshot; waits for its holder.
    pub(crate) fn reader(run_dir: &Path, pool: &PoolName) -> Result<Self, Error> {
        let path = run_dir.join(format!("pool-{pool}.reader.lock"));
        let lock = Self::take(&path, FlockArg::LockExclusive)
            .map_err(|source| Error::Lock { path, source })?;
        Ok(lock.expect("a waiting flock returns with the lock"))
    }

    /// The lock of everybody who makes or migrates the store.
    pub(crate) fn store(run_dir: &Path) -> Result<Self, Error> {
        let path = run_dir.join("store.lock");
        let lock = Self::take(&path, FlockArg::LockExclusive)
            .map_err(|source| Error::Lock { path, source })?;
        Ok(lock.expect("a waiting flock returns with the lock"))
    }

    /// A volume's lock if nobody holds it, or none.
    pub(crate) fn try_volume(
        run_dir: &Path,
        pool: &PoolName,
        volume: &VolumeName,
    ) -> Result<Option<Self>, Error> {
        let dir = run_dir.join("volumes");
        own_dir(&dir)?;
        let path = dir.join(format!("{pool}-{volume}.lock"));
        Self::take(&path, FlockArg::LockExclusiveNonblock)
            .map_err(|source| Error::Lock { path, source })
    }

    /// A volume's lock; waits a little for a short holder.
    ///
    /// # Errors
    /// [`Error::Making`] if another process keeps it.
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
                return Err(Error::Making { volume: volume.clone(), pool: pool.clone() });
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// The volumes of the pool that have a lock file, held or not.
    pub(crate) fn volumes(run_dir: &Path, pool: &PoolName) -> Result<Vec<VolumeName>, Error> {
        let dir = run_dir.join("volumes");
        let failed = |source| Error::Directory { path: dir.clone(), source };
        own_dir(&dir)?;
        let volume = |name: &str| {
            name.strip_prefix(pool.as_ref())?.strip_prefix('-')?.strip_suffix(".lock")?.parse().ok()
        };
        let mut volumes = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            volumes.extend(name.to_str().and_then(volume));
        }
        Ok(volumes)
    }

    /// Removes the file with the lock still held: whoever waits on it sees that the file is no longer the one at its path.
    /// Once only, for the file that is there afterwards is another holder's.
    pub(crate) fn forget(&self) {
        if self.forgotten.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a lock file stays behind");
        }
    }

    fn take(path: &Path, how: FlockArg) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            let file = match Flock::lock(file, how) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, Errno::EINTR)) => continue,
                Err((_, errno)) => return Err(errno.into()),
            };
            let held = file.metadata()?;
            match fs::metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => {
                    let (path, forgotten) = (path.to_owned(), AtomicBool::new(false));
                    return Ok(Some(Self { file, path, forgotten }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRef<File> for Lock {
    fn as_ref(&self) -> &File {
        &self.file
    }
}

/// Makes `dir` with mode 0700, or takes it as it is if it is ours and nobody else can write it: whoever writes there decides
/// what root mounts.
pub(crate) fn own_dir(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Directory { path: dir.to_owned(), source };
    match fs::metadata(dir) {
        Ok(found) => {
            if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
                return Ok(());
            }
            Err(Error::OpenDirectory {
                path: dir.to_owned(),
                uid: found.uid(),
                mode: found.mode() & 0o7777,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn dir(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("sharedroot-dm-lock-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        own_dir(&dir).expect("a directory");
        dir
    }

    #[test]
    fn a_volume_has_one_maker_and_a_forgotten_lock_is_free() {
        let run = dir("maker");
        let (pool, volume) = ("p".parse().expect("a name"), "v".parse().expect("a name"));
        let first = Lock::volume(&run, &pool, &volume).expect("the lock");
        assert!(Lock::try_volume(&run, &pool, &volume).expect("a try").is_none());
        first.forget();
        let second = Lock::try_volume(&run, &pool, &volume).expect("a try").expect("the lock");
        assert!(second.as_ref().metadata().is_ok());
        drop(second);
        assert!(Lock::try_volume(&run, &pool, &volume).expect("a try").is_some());
        fs::remove_dir_all(run).expect("removed");
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let open = dir("open");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).expect("a mode");
        assert!(matches!(own_dir(&open), Err(Error::OpenDirectory { mode: 0o770, .. })));
        fs::remove_dir_all(open).expect("removed");
    }
}
