//! Why a root file system cannot be prepared or released.

use std::path::{Path, PathBuf};

use sharedroot_dm::{PoolName, VolumeName};
use sharedroot_format::{BaseKey, Digest};
use sharedroot_image::{ImportError, MakeError, WalkError};
use sharedroot_label::LabelError;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::MountError;
use sharedroot_sys::private_dir::PrivateDirError;

use crate::catalog_file::CatalogError;
use crate::changes::ChangeError;
use crate::containers::ContainersError;
use crate::leases::LeaseError;
use crate::not_shared::NotShared;
use crate::remedy::words;
use crate::size_error::SizeError;
use crate::snapshot_table::SnapshotTableError;

/// A root file system could not be prepared or released.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A reason to run on the engine's rootfs, in an operation that needs a base.
    #[error(transparent)]
    NotShared(#[from] NotShared),
    /// The pool or a volume failed.
    #[error("{}{}", chain(.0), words(.0))]
    Dm(sharedroot_dm::Error),
    /// A name from the configuration, from the command line, or of a volume is not valid.
    #[error(transparent)]
    Name(#[from] sharedroot_dm::NameError),
    /// A base could not be made.
    #[error("make the base of {key}")]
    Make {
        /// The image's key.
        key: BaseKey,
        /// The step that failed, with its reason.
        source: MakeError,
    },
    /// The image cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A whole tree could not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The catalog of bases could not be read or replaced.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The snapshotter's table cannot be read.
    #[error(transparent)]
    Snapshots(#[from] SnapshotTableError),
    /// The lock of the snapshotter's daemon cannot be read.
    #[error("read who holds the lock {path}")]
    SnapshotterLock {
        /// The lock's file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The base does not exist, or is not complete.
    #[error("there is no complete base {key}; `sharedroot image list` shows what there is")]
    NoBase {
        /// The key.
        key: BaseKey,
    },
    /// `image verify` found a different tree.
    #[error(
        "the base {key} is not what it was made from: its tree has the digest {found}, and {expected} was recorded; remove it \
         (`sharedroot image rm`) and import it again"
    )]
    Differs {
        /// The base.
        key: BaseKey,
        /// The digest that was recorded.
        expected: Digest,
        /// The digest of the tree now.
        found: Digest,
    },
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The shared label in the configuration cannot be used.
    #[error("selinux.shared_label in the configuration")]
    SharedLabel(#[source] LabelError),
    /// A scaffold would take much of the host's memory.
    #[error(
        "the mounts have mount points with {names} directories and files that the image lacks, and more than {most} are not \
         put above a base"
    )]
    ManyNames {
        /// How many directories and files.
        names: usize,
        /// The most.
        most: usize,
    },
    /// The label of a mounted root could not be read.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// `image rm` removed the base meanwhile.
    #[error("the base {key} was removed while a container was made from it; try again")]
    BaseRemoved {
        /// The base.
        key: BaseKey,
    },
    /// A base that containers use is not deleted.
    #[error("the base {key} is used by container {id}; delete its containers first")]
    InUse {
        /// The base.
        key: BaseKey,
        /// The ID of a container that uses the base.
        id: String,
    },
    /// A container's changes could not be written back. They are not lost: they are in the container's snapshot.
    #[error(
        "write what container {id} changed back to its engine: {}; nothing is lost: the changes are in the \
         volume {volume}, and the next `delete` or start of the container writes them again",
        chain(.cause)
    )]
    WriteBack {
        /// The container.
        id: String,
        /// The snapshot.
        volume: VolumeName,
        /// The step and its reason.
        cause: ChangeError,
    },
    /// The engine's disk did not take a container's changes. They are not lost: they are in the container's snapshot.
    #[error(
        "sync what container {id} changed to the disk of {}: until the host ends, its memory hides what the disk lacks: repair \
         the disk, and boot the host; nothing is lost: the changes are in the volume {volume}, and the next start of the \
         container writes them again",
        upper.display()
    )]
    NotOnDisk {
        /// The container.
        id: String,
        /// The snapshot.
        volume: VolumeName,
        /// The upper directory of the engine's overlay.
        upper: PathBuf,
        /// The error of the sync; none if an earlier sync failed.
        #[source]
        cause: Option<ChangeError>,
    },
    /// What the container held over its image could not be brought into its new snapshot.
    #[error("bring what container {id} holds over its image into a snapshot")]
    BringIn {
        /// The container.
        id: String,
        /// The step that failed, with its reason.
        source: ChangeError,
    },
    /// The container's snapshot cannot have the size that the container asks for.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A snapshot holds changes of this container, or of another container with its ID, and there is no overlay to write them
    /// to.
    #[error(
        "the volume {volume} holds changes of an earlier container {id} that are not written back to {upper}, \
         which is not known to be the upper directory of this container: remove the earlier container with its engine, then \
         call `sharedroot gc`"
    )]
    Unsaved {
        /// The container ID.
        id: String,
        /// The snapshot.
        volume: VolumeName,
        /// The upper directory that the changes belong to.
        upper: PathBuf,
    },
    /// What was written into the engine's overlay after the container's last stop could not be brought into the container's
    /// snapshot.
    #[error(
        "bring what was written into the stopped container {id} into its snapshot {volume}: {}; \
         `sharedroot pool drop {volume}` gives the snapshot up",
        chain(.cause)
    )]
    BringNewer {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The step and its reason.
        cause: ChangeError,
    },
    /// A file has two versions, and nobody can tell which version is newer.
    #[error(
        "tell whether {path} of container {id} in its engine's overlay is newer than in its snapshot {volume}: the overlay's \
         file differs from the file at the container's beginning, and its change time is older: remove {} to keep the \
         snapshot's file, or copy the file into the container again to keep the engine's file; then start the container",
        copy.display()
    )]
    Unclear {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The path in the container.
        path: PathBuf,
        /// The path of the file in the engine's overlay.
        copy: PathBuf,
    },
    /// The container must have its snapshot as its root, and would get another root.
    #[error(
        "the root of container {id} is its snapshot {volume}, which holds what its engine's overlay cannot ({first}), and \
         the container would get another root now ({why}): remove the reason, or give the snapshot \
         up with `sharedroot pool drop {volume}`"
    )]
    OnlyInSnapshot {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The first file that only the snapshot holds.
        first: String,
        /// The reason why the container would get another root.
        why: String,
    },
    /// An administrator deleted the snapshot meanwhile.
    #[error(
        "the snapshot {volume} of container {id} was deleted while the container was made; start it again"
    )]
    Dropped {
        /// The container.
        id: String,
        /// The snapshot.
        volume: VolumeName,
    },
    /// The named volume is no snapshot of a container.
    #[error("{volume} is no snapshot of a container; `sharedroot pool inspect` lists them")]
    NoSnapshot {
        /// The volume that was named.
        volume: VolumeName,
    },
    /// The snapshot is not deleted while its container starts: the deletion could take what the start has just written.
    #[error(
        "the container of the snapshot {volume} is being started; nothing was deleted: stop the container first"
    )]
    Starting {
        /// The snapshot.
        volume: VolumeName,
    },
    /// An engine that packs a layer now would miss files, and would not notice.
    #[error(
        "give the engine what container {id} changed: {count} of its files cannot be in the engine's overlay, and an image made \
         now would lack them ({first}); keep them in a volume, or create the container with the annotation \
         dev.sharedroot.mode=off"
    )]
    NotInOverlay {
        /// The container.
        id: String,
        /// The number of files that the overlay cannot hold.
        count: u64,
        /// The first of these files.
        first: String,
    },
    /// A running container's changes cannot reach its engine: the engine's overlay is not mounted below the root.
    #[error(
        "give the engine what the container changed: its root and the engine's overlay below it are not mounted at \
         {path}; stop it instead"
    )]
    NowhereToGo {
        /// The path where the root and the overlay should be mounted.
        path: PathBuf,
    },
    /// A pool that containers use is not destroyed or deactivated.
    #[error(
        "the pool {pool} is used by {}; stop and delete every container on it first \
         (`docker stop`, `sharedroot delete`)",
        list(.containers)
    )]
    PoolInUse {
        /// The pool.
        pool: PoolName,
        /// IDs of the containers.
        containers: Vec<String>,
    },
    /// A pool is destroyed only with `--force`.
    #[error("the pool {pool} is as it was; `sharedroot pool destroy --force` destroys it")]
    NotForced {
        /// The pool.
        pool: PoolName,
    },
    /// A directory of sharedroot cannot be used.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// The program could not say what it knows of its containers.
    #[error(transparent)]
    Containers(ContainersError),
    /// A lease could not be read or written.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A file, directory or lock of sharedroot failed.
    #[error("{step} {path}")]
    File {
        /// The step that failed.
        step: &'static str,
        /// The path of the step.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl RootfsError {
    /// Looks for the users of a volume in use, for an error that people read. The search takes up to about a second, so the caller
    /// holds no lock for which containers wait.
    pub(crate) fn naming_users(self) -> Self {
        match self {
            Self::Dm(error) => Self::Dm(error.naming_users()),
            error => error,
        }
    }
}

/// What to do about an error of the pool stands after its cause, so the cause is no source.
impl From<sharedroot_dm::Error> for RootfsError {
    fn from(error: sharedroot_dm::Error) -> Self {
        Self::Dm(error)
    }
}

/// `container a`, or `the containers a, b and 3 more`.
fn list(ids: &[String]) -> String {
    const SHOWN: usize = 8;
    match ids {
        [id] => format!("container {id}"),
        ids if ids.len() > SHOWN => {
            let (shown, more) = (ids[..SHOWN].join(", "), ids.len() - SHOWN);
            format!("the containers {shown} and {more} more")
        }
        ids => format!("the containers {}", ids.join(", ")),
    }
}

pub(crate) fn file<'a>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> RootfsError + 'a {
    move |source| RootfsError::File { step, path: path.to_owned(), source }
}
