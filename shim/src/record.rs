//! The record of one container: what `create` made, so that `delete` unmakes exactly that.
//!
//! `/run/sharedroot/containers/<state root>/<ID>/` holds `record.json` and the `config.json` that
//! the engine reads. It is written before anything is made, so a killed `create` is undone by
//! the `delete --force` that every caller sends.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::ContainerId;

/// A record that cannot be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A system call on one path failed.
    #[error("{step} {path}: {source}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The text is not a record.
    #[error("{path} is not a container record: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Somebody else may write where only root should.
    #[error(
        "state directory {path} can be written by others (owner {owner}, mode {mode:04o}); \
         make it root's own: chown root {path} && chmod 700 {path}"
    )]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A container of that ID is there.
    #[error("container with ID {id} already exists; delete it first or choose another ID")]
    Exists {
        /// The container ID.
        id: ContainerId,
    },
}

/// Which root file system a container got, and what there is to undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rootfs {
    /// A read-only bind of the base, in the container's own mount namespace: nothing to undo.
    Shared {
        /// The base's key.
        base: String,
    },
    /// A snapshot mounted over `root.path`.
    Private {
        /// The base's key.
        base: String,
        /// The thin volume of the snapshot.
        volume: String,
        /// Where it is mounted.
        mount_point: PathBuf,
    },
    /// What the engine gave; nothing to undo.
    AsGiven {
        /// The reason, for people.
        why: String,
    },
}

/// The facts of one container that the engine does not keep.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The container ID.
    pub id: String,
    /// The caller's bundle.
    pub bundle: PathBuf,
    /// The root as the caller sees it.
    pub root_path: PathBuf,
    /// What `create` made.
    pub rootfs: Rootfs,
}

/// Held while a container is made or unmade.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Option<Flock<File>>);

/// The directory of one container's record.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    id: ContainerId,
}

impl Place {
    /// The place for container `id` of the state root `root` (runc's `--root`). IDs are unique
    /// within one state root only.
    #[must_use]
    pub fn of(run_dir: &Path, root: &Path, id: &ContainerId) -> Self {
        Self { dir: folder(run_dir, root).join(id.as_str()), id: id.clone() }
    }

    /// The bundle directory that the engine reads.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Claims the ID: exactly one of several concurrent `create`s gets it, and a `delete` waits
    /// for it while the lock is held.
    ///
    /// # Errors
    /// [`RecordError::Exists`] or [`RecordError::File`].
    pub fn claim(&self) -> Result<Lock, RecordError> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        private_dir(parent)?;
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => {
                let lock = self.lock(Duration::ZERO)?;
                // Between the two calls another `create` may have taken it for abandoned.
                let ours = lock.as_ref().is_some_and(|lock| {
                    lock.metadata().is_ok_and(|open| {
                        fs::metadata(self.lock_file()).is_ok_and(|found| found.ino() == open.ino())
                    })
                });
                if ours { Ok(Lock(lock)) } else { Err(RecordError::Exists { id: self.id.clone() }) }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordError::Exists { id: self.id.clone() })
            }
            Err(source) => Err(file("create", &self.dir)(source)),
        }
    }

    /// A file and not the directory: the engine's processes inherit it, and a directory would lead an image's program
    /// out of its container (`/proc/self/fd/N/..`, CVE-2024-21626).
    fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The lock of one container, so that its verbs that make and unmake do not overlap. `None` in
    /// it if there is no record, or if its holder does not let go in `patience`: the holder may be
    /// a process that a killed `create` left behind, and a `delete` must end it.
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
        self.lock(Duration::from_secs(10)).map(Lock)
    }

    /// Whether the record is of a `create` or `delete` that died: nobody holds its lock.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn is_abandoned(&self) -> Result<bool, RecordError> {
        self.lock(Duration::ZERO).map(|lock| lock.is_some())
    }

    /// Writes the record whole or not at all.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn write(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.dir.join("record.json");
        let new = self.dir.join("record.json.new");
        let text = serde_json::to_vec(record)
            .map_err(|source| RecordError::Parse { path: path.clone(), source })?;
        fs::write(&new, text).map_err(file("write", &new))?;
        fs::rename(&new, &path).map_err(file("rename to", &path))
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

    /// Removes the record; that it is gone already is no error.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn remove(&self) -> Result<(), RecordError> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file("remove", &self.dir)(e)),
            _ => Ok(()),
        }
    }
}

/// The records of every container of every state root.
///
/// # Errors
/// [`RecordError`] of the first file that cannot be read. One that is no record is left out with a
/// warning.
pub fn all(run_dir: &Path) -> Result<Vec<Record>, RecordError> {
    let mut found = Vec::new();
    let top = run_dir.join("containers");
    for folder in entries(&top)? {
        for dir in entries(&folder)? {
            let path = dir.join("record.json");
            match fs::read(&path) {
                Ok(text) => match serde_json::from_slice(&text) {
                    Ok(record) => found.push(record),
                    Err(source) => tracing::warn!("{}", RecordError::Parse { path, source }),
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(file("read", &path)(source)),
            }
        }
    }
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, RecordError> {
    match fs::read_dir(dir) {
        Ok(list) => list.map(|e| e.map(|e| e.path()).map_err(file("list", dir))).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(file("list", dir)(source)),
    }
}

fn folder(run_dir: &Path, root: &Path) -> PathBuf {
    let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    run_dir.join("containers").join(name)
}

/// Makes `dir` (mode 0700) and its parents if they are missing, and refuses one that anybody but
/// its owner, who must be this process's user, can write.
///
/// # Errors
/// [`RecordError::File`], [`RecordError::Unsafe`].
pub fn private_dir(dir: &Path) -> Result<(), RecordError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file("create", dir))?;
    let found = fs::symlink_metadata(dir).map_err(file("stat", dir))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if !found.is_dir() || owner != nix::unistd::geteuid().as_raw() || mode & 0o022 != 0 {
        return Err(RecordError::Unsafe { path: dir.to_owned(), owner, mode });
    }
    Ok(())
}

fn file<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RecordError + 'a {
    move |source| RecordError::File { step, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_claimed_once_and_reads_back() {
        let run = std::env::temp_dir().join(format!("sharedroot-record-{}", std::process::id()));
        private_dir(&run).unwrap();
        let id = ContainerId::parse("c1").unwrap();
        let place = Place::of(&run, Path::new("/run/moby"), &id);
        let other = Place::of(&run, Path::new("/run/k8s"), &id);
        let lock = place.claim().unwrap();
        assert!(!place.is_abandoned().unwrap());
        drop(lock);
        assert!(place.is_abandoned().unwrap());
        assert!(matches!(place.claim(), Err(RecordError::Exists { .. })));
        let _other = other.claim().unwrap();
        assert!(place.read().unwrap().is_none());
        let rootfs = Rootfs::AsGiven { why: "test".to_owned() };
        let record =
            Record { id: "c1".into(), bundle: "/b".into(), root_path: "/r".into(), rootfs };
        place.write(&record).unwrap();
        assert_eq!(place.read().unwrap().unwrap().rootfs, record.rootfs);
        assert_eq!(all(&run).unwrap().len(), 1);
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(place.read().unwrap().is_none());
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn a_state_directory_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("sharedroot-open-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(private_dir(&dir), Err(RecordError::Unsafe { mode: 0o777, .. })));
        fs::remove_dir(dir).unwrap();
    }
}
