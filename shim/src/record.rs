//! The record of one container: what `create` made, so that `delete` removes exactly that.
//!
//! `/run/sharedroot/containers/<state root>/<ID>/` holds `record.json` and the `config.json` that the engine reads. `create`
//! writes it before it makes anything. So the `delete --force` that every caller sends undoes a killed `create`.

mod place;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sharedroot_bases::{Containers, ContainersError};
use sharedroot_engine::Choice;
use sharedroot_format::{
    BaseKey, ContainerId, Digest, Holder, Lease, ScaffoldName, Use, VolumeName,
};
use sharedroot_sys::chain::chain;
use sharedroot_sys::private_dir::PrivateDirError;

pub use place::{Lock, Place};

/// A record that cannot be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A system call on one path failed.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The text is not a record.
    #[error("{path} is not a container record")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with the text.
        source: serde_json::Error,
    },
    /// A directory of this program cannot be used.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// There is a container with this ID.
    #[error("container with ID {id} already exists; delete it first or choose another ID")]
    Exists {
        /// The container ID.
        id: ContainerId,
    },
}

/// Which root file system a container got, and what must be undone when it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rootfs {
    /// A read-only bind of the base, in the container's own mount namespace. The bind ends with the namespace.
    Shared {
        /// The base's key.
        base: BaseKey,
        /// The name of the scaffold above the base, if the container has one. The last container that uses a scaffold removes
        /// it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaffold: Option<ScaffoldName>,
    },
    /// A snapshot mounted over `root.path`.
    Private {
        /// The base's key.
        base: BaseKey,
        /// The thin volume of the snapshot.
        volume: VolumeName,
        /// Where the snapshot is mounted.
        mount_point: PathBuf,
    },
    /// A snapshot that the snapshotter made for this container, and that its engine mounted. There is nothing to undo: the snapshot
    /// is the engine's, and lives until the engine removes it.
    Snapshot {
        /// The thin volume of the snapshot.
        volume: VolumeName,
    },
    /// The engine's rootfs, which this program did not change. There is nothing to undo.
    #[serde(alias = "as_given")]
    NotShared {
        /// The reason, for messages.
        why: String,
    },
}

impl Rootfs {
    /// How the container uses a base, if it uses one.
    fn base_use(&self) -> Option<(&BaseKey, Use)> {
        match self {
            Self::Shared { base, scaffold: None } => Some((base, Use::Shared)),
            Self::Shared { base, scaffold: Some(name) } => {
                Some((base, Use::Scaffold(name.clone())))
            }
            Self::Private { base, .. } => Some((base, Use::Private)),
            Self::Snapshot { .. } | Self::NotShared { .. } => None,
        }
    }

    /// The lease of the base, if the container uses one; the record of the container `id` is in the directory `dir`.
    #[must_use]
    pub fn lease(&self, dir: &Path, id: &str) -> Option<Lease> {
        let (base, what) = self.base_use()?;
        let (base, holder) = (base.clone(), Holder::of_record(dir));
        Some(Lease { base, what, holder, name: id.to_owned() })
    }

    /// The key of the base that the container uses.
    #[must_use]
    pub fn base(&self) -> Option<&BaseKey> {
        match self {
            Self::Shared { base, .. } | Self::Private { base, .. } => Some(base),
            Self::Snapshot { .. } | Self::NotShared { .. } => None,
        }
    }
}

/// What is known of a container and not kept by its engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The container ID.
    pub id: String,
    /// The caller's bundle.
    pub bundle: PathBuf,
    /// The engine that created the container. Every later command uses the same engine.
    #[serde(default)]
    pub engine: Choice,
    /// The path of the root, as the caller sees it.
    pub root_path: PathBuf,
    /// What `create` made.
    pub rootfs: Rootfs,
}

/// The IDs of the containers of one state root that have a record.
///
/// # Errors
/// [`RecordError::File`].
pub fn ids(run_dir: &Path, root: &Path) -> Result<Vec<String>, RecordError> {
    let name = |dir: PathBuf| Some(dir.file_name()?.to_str()?.to_owned());
    Ok(entries(&folder(run_dir, root))?.into_iter().filter_map(name).collect())
}

/// The state root of the delegates, for one state root of this program. It is separate from the embedded engine's state root,
/// so that no engine takes the directory of another engine for its own.
#[must_use]
pub fn state_of_delegates(run_dir: &Path, root: &Path) -> PathBuf {
    run_dir.join("delegates").join(hash(root))
}

/// The records of every container of every state root.
///
/// # Errors
/// [`RecordError`] of the first file that cannot be read. A file that is no record is left out with a warning.
pub fn all(run_dir: &Path) -> Result<Vec<Record>, RecordError> {
    let mut found = Vec::new();
    visit(run_dir, |_, record| found.push(record))?;
    Ok(found)
}

/// The leases that the records of every container of every state root name.
///
/// # Errors
/// The errors of [`all`].
fn leases(run_dir: &Path) -> Result<Vec<Lease>, RecordError> {
    let mut found = Vec::new();
    visit(run_dir, |dir, record| found.extend(record.rootfs.lease(dir, &record.id)))?;
    Ok(found)
}

/// The records of all containers, for commands that remove something.
#[derive(Debug)]
pub struct Records<'a>(
    /// The run directory.
    pub &'a Path,
);

impl Containers for Records<'_> {
    fn leases(&self) -> Result<Vec<Lease>, ContainersError> {
        Ok(leases(self.0)?)
    }

    fn snapshots(&self) -> Result<Vec<VolumeName>, ContainersError> {
        let volume = |record: Record| match record.rootfs {
            Rootfs::Private { volume, .. } => Some(volume),
            _ => None,
        };
        Ok(all(self.0)?.into_iter().filter_map(volume).collect())
    }

    fn forget(&self, snapshot: &VolumeName) -> Result<(), ContainersError> {
        let names_it = |record: &Record| matches!(&record.rootfs, Rootfs::Private { volume, .. } if snapshot == volume);
        Ok(forget(self.0, names_it)?)
    }
}

/// Removes the records that `is_such` chooses: those of containers that no caller will delete.
fn forget(run_dir: &Path, is_such: impl Fn(&Record) -> bool) -> Result<(), RecordError> {
    let mut places = Vec::new();
    visit(run_dir, |dir, record| {
        places.extend(is_such(&record).then(|| Place::at(dir.to_owned())).flatten());
    })?;
    places.iter().try_for_each(|place| place.remove_if(&is_such))
}

fn visit(run_dir: &Path, mut next: impl FnMut(&Path, Record)) -> Result<(), RecordError> {
    let top = run_dir.join("containers");
    for folder in entries(&top)? {
        for dir in entries(&folder)? {
            let path = dir.join("record.json");
            match fs::read(&path) {
                Ok(text) => match serde_json::from_slice(&text) {
                    Ok(record) => next(&dir, record),
                    Err(source) => {
                        tracing::warn!("{}", chain(&RecordError::Parse { path, source }))
                    }
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(file("read", &path)(source)),
            }
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, RecordError> {
    match fs::read_dir(dir) {
        Ok(list) => list.map(|e| e.map(|e| e.path()).map_err(file("list", dir))).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(file("list", dir)(source)),
    }
}

fn folder(run_dir: &Path, root: &Path) -> PathBuf {
    run_dir.join("containers").join(hash(root))
}

fn hash(root: &Path) -> String {
    let mut digits = Digest::of(root.as_os_str().as_encoded_bytes()).hex();
    digits.truncate(16);
    digits
}

fn file<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RecordError + 'a {
    move |source| RecordError::File { step, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
