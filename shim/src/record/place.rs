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

use super::{Record, RecordError, entries, file, folder, hash};

/// The lock of a container, held while it is created or deleted.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct Lock(Held);

#[derive(Debug)]
enum Held {
    /// There is no lock file.
    Nothing,
    /// Another process keeps the lock.
    Others,
    Locked(Flock<File>),
    /// The lock file after its release, to recognise it.
    LetGo(File),
}

impl Lock {
    /// Whether this process has the lock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.0, Held::Locked(_))
    }

    /// Whether another process kept the lock for as long as this one waited.
    #[must_use]
    pub fn is_others(&self) -> bool {
        matches!(self.0, Held::Others)
    }

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

/// What is done where a directory has no lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    /// The lock file is made, for a `create`.
    Create,
    /// The record is gone.
    Leave,
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

    /// The place at a directory that holds a record; `None` if its name is no container ID.
    pub(super) fn at(dir: PathBuf) -> Option<Self> {
        let id = dir.file_name()?.to_str()?.parse().ok()?;
        Some(Self { dir, id })
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
            // Between the two calls another `create` may have taken the directory for abandoned.
            Ok(()) => self.abandoned()?.ok_or_else(|| RecordError::Exists { id: self.id.clone() }),
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

    /// Locks the container, so that commands that create or delete it do not overlap, unless there is no record or another
    /// process keeps the lock for longer than `patience`: a killed `create` may have left that process, and a `delete` must end
    /// it.
    ///
    /// # Errors
    /// [`RecordError::File`].
    fn lock(&self, if_missing: IfMissing, patience: Duration) -> Result<Lock, RecordError> {
        let deadline = Instant::now() + patience;
        let path = self.lock_file();
        let mut options = File::options();
        options.write(true).create(if_missing == IfMissing::Create).truncate(false).mode(0o600);
        loop {
            let lock = match options.open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Lock(Held::Nothing)),
                opened => opened.map_err(file("open", &path))?,
            };
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                // Otherwise its holder removed the record while this process waited, and another container may have the place.
                Ok(lock) if self.is(&lock) => return Ok(Lock(Held::Locked(lock))),
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err((_, Errno::EWOULDBLOCK)) => return Ok(Lock(Held::Others)),
                Err((_, errno)) => return Err(file("lock", &path)(errno.into())),
            }
        }
    }

    /// Waits up to ten seconds for a `create` or `delete` of this container to end.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn wait(&self) -> Result<Lock, RecordError> {
        self.lock(IfMissing::Leave, Duration::from_secs(10))
    }

    /// Waits like [`Self::wait`], and also takes the lock of a directory without a lock file, which a `create` or `delete` that
    /// was killed left. If the lock is not held then, either it is another's, or there is no directory: nothing may be removed.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn wait_for_any(&self) -> Result<Lock, RecordError> {
        self.lock(IfMissing::Create, Duration::from_secs(10))
    }

    /// Takes a released lock again. Returns false if the container was deleted meanwhile: another container may have the place
    /// by now.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn regain(&self, lock: &mut Lock) -> Result<bool, RecordError> {
        if let Held::LetGo(known) = &lock.0 {
            // Nobody waits for a command that works on another container.
            if !self.is(known) {
                return Ok(false);
            }
            let again = self.lock(IfMissing::Leave, Duration::from_secs(10))?;
            if !self.is(known) {
                return Ok(false);
            }
            *lock = again;
        }
        Ok(true)
    }

    /// Whether the lock file is still that of the directory. The directory of another container has another file.
    fn is(&self, lock: &File) -> bool {
        let found = fs::metadata(self.lock_file());
        lock.metadata().is_ok_and(|open| found.is_ok_and(|found| found.ino() == open.ino()))
    }

    /// The lock of a record that a killed `create` or `delete` left; `None` if a process holds the lock, or there is no record.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn abandoned(&self) -> Result<Option<Lock>, RecordError> {
        let lock = self.lock(IfMissing::Create, Duration::ZERO)?;
        Ok(lock.is_held().then_some(lock))
    }

    /// Removes the record if `is_such` chooses it. A record whose container is created or deleted at this time stays: its
    /// owner removes it.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn remove_if(&self, is_such: impl Fn(&Record) -> bool) -> Result<(), RecordError> {
        let lock = self.lock(IfMissing::Leave, Duration::ZERO)?;
        if !lock.is_held() {
            // A record without a lock file is one that a `create` has written since.
            tracing::debug!("the record {} stays: its container is in use", self.dir.display());
            return Ok(());
        }
        // Read under the lock: another container may have got the ID since somebody looked.
        match self.read()?.is_some_and(|record| is_such(&record)) {
            true => self.remove(),
            false => Ok(()),
        }
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
    /// The lock file goes last, so nobody takes the lock of a record that is half gone. Only a `create` makes a new lock file
    /// then: it takes the directory for abandoned, and the directory is its own from there on.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn remove(&self) -> Result<(), RecordError> {
        let lock = self.lock_file();
        for path in entries(&self.dir)?.into_iter().filter(|path| *path != lock) {
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            gone(if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) })
                .map_err(file("remove", &path))?;
        }
        gone(fs::remove_file(&lock)).map_err(file("remove", &lock))?;
        match fs::remove_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => gone(removed).map_err(file("remove", &self.dir)),
        }
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
