//! The directory of the record of one container, and the lock of the container: commands that create or delete it do not
//! overlap.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sharedroot_format::ContainerId;
use sharedroot_sys::new_file;
use sharedroot_sys::private_dir::private_dir;

use super::{Record, RecordError, file, folder, hash};

/// The lock of a container, held while it is created or deleted.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct Lock(Held);

#[derive(Debug)]
enum Held {
    /// There is no record, or another process holds the lock.
    Nothing,
    Locked(Flock<File>),
    /// The lock file after its release, to recognise it.
    LetGo(File),
}

impl Lock {
    /// Releases the lock. [`Place::regain`] takes it again.
    pub fn let_go(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, Held::Nothing) {
            Held::Locked(lock) => {
                lock.unlock().map_or_else(|(lock, _)| Held::Locked(lock), Held::LetGo)
            }
            held => held,
        };
    }
}

impl From<Option<Flock<File>>> for Lock {
    fn from(lock: Option<Flock<File>>) -> Self {
        Self(lock.map_or(Held::Nothing, Held::Locked))
    }
}

/// The directory of the record of one container.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    id: ContainerId,
}

impl Place {
    /// The place of the container `id` in the state root `root` (runc's `--root`). A container ID is unique in its state root
    /// only.
    #[must_use]
    pub fn of(run_dir: &Path, root: &Path, id: &ContainerId) -> Self {
        Self { dir: folder(run_dir, root).join(id.as_str()), id: id.clone() }
    }

    /// The bundle that the engine reads.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A short name of the container, different in each state root.
    #[must_use]
    pub fn tag(&self) -> String {
        hash(&self.dir)
    }

    /// Claims the container ID. Exactly one of several concurrent `create`s gets the ID, and a `delete` waits while the lock is
    /// held.
    ///
    /// # Errors
    /// [`RecordError::Exists`] or [`RecordError::File`].
    pub fn claim(&self) -> Result<Lock, RecordError> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        private_dir(parent)?;
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => {
                let lock = self.lock(Duration::ZERO)?;
                // Between the two calls another `create` may have taken the directory for abandoned.
                if lock.as_ref().is_some_and(|lock| self.is(lock)) {
                    Ok(lock.into())
                } else {
                    Err(RecordError::Exists { id: self.id.clone() })
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordError::Exists { id: self.id.clone() })
            }
            Err(source) => Err(file("create", &self.dir)(source)),
        }
    }

    /// The lock is on a file, not on the directory, because the engine's processes inherit its descriptor. A descriptor of a
    /// directory would lead a program of the image out of its container (`/proc/self/fd/N/..`, CVE-2024-21626).
    fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Locks the container, so that commands that create or delete it do not overlap. The result has no lock file if there is
    /// no record, or if another process keeps the lock for longer than `patience`: a killed `create` may have left that
    /// process, and a `delete` must end it.
    ///
    /// # Errors
    /// [`RecordError::File`].
    fn lock(&self, patience: Duration) -> Result<Option<Flock<File>>, RecordError> {
        let deadline = Instant::now() + patience;
        let path = self.lock_file();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let mut lock = match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(file("open", &path))?,
        };
        loop {
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(lock)),
                Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => lock = back,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(file("lock", &path)(errno.into())),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits up to ten seconds for a `create` or `delete` of this container to end.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn wait(&self) -> Result<Lock, RecordError> {
        self.lock(Duration::from_secs(10)).map(Lock::from)
    }

    /// Takes a released lock again. Returns false if the container was deleted meanwhile: another container may have the place
    /// by now.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn regain(&self, lock: &mut Lock) -> Result<bool, RecordError> {
        if let Held::LetGo(known) = &lock.0 {
            let again = self.lock(Duration::from_secs(10))?;
            if !self.is(known) {
                return Ok(false);
            }
            *lock = again.into();
        }
        Ok(true)
    }

    /// Whether the lock file is still that of the directory. The directory of another container has another file.
    fn is(&self, lock: &File) -> bool {
        let found = fs::metadata(self.lock_file());
        lock.metadata().is_ok_and(|open| found.is_ok_and(|found| found.ino() == open.ino()))
    }

    /// Whether the record was left by a `create` or `delete` that was killed: no process holds the lock.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn is_abandoned(&self) -> Result<bool, RecordError> {
        self.lock(Duration::ZERO).map(|lock| lock.is_some())
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn write(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.dir.join("record.json");
        let text = serde_json::to_vec(record)
            .map_err(|source| RecordError::Parse { path: path.clone(), source })?;
        new_file::write_own(&path, &text).map_err(file("write", &path))
    }

    /// Reads the record; `None` if there is none.
    ///
    /// # Errors
    /// [`RecordError::File`], [`RecordError::Parse`].
    pub fn read(&self) -> Result<Option<Record>, RecordError> {
        let path = self.dir.join("record.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| RecordError::Parse { path, source }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file("read", &path)(source)),
        }
    }

    /// Removes the record. A missing record is no error.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn remove(&self) -> Result<(), RecordError> {
        loop {
            match fs::remove_dir_all(&self.dir) {
                // A process that waits for the lock has made the lock file again.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(file("remove", &self.dir)(e));
                }
                _ => return Ok(()),
            }
        }
    }
}
