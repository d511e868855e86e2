//! Why a root file system cannot be made or unmade.

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

/// A root file system that could not be made or unmade.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A reason to run on the engine's rootfs, where only a base will do.
    #[error(transparent)]
    NotShared(#[from] NotShared),
    /// The pool or a volume.
    #[error("{}{}", chain(.0), words(.0))]
    Dm(sharedroot_dm::Error),
    /// A name from the configuration, the command line or of a volume.
    #[error(transparent)]
    Name(#[from] sharedroot_dm::NameError),
    /// Making the base.
    #[error("make the base of {key}")]
    Make {
        /// The image's key.
        key: BaseKey,
        /// The step and its reason.
        source: MakeError,
    },
    /// What is to be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A tree that is read as a whole.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The names of bases.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A base that is not complete, or none.
    #[error("there is no complete base {key}; `sharedroot image list` shows what there is")]
    NoBase {
        /// The key.
        key: BaseKey,
    },
    /// `image verify` found another tree.
    #[error(
        "the base {key} is not what it was made from: its tree has the digest {found}, and {expected} was recorded; remove it \
         (`sharedroot image rm`) and import it again"
    )]
    Differs {
        /// The base.
        key: BaseKey,
        /// What was recorded.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The shared label in the configuration.
    #[error("selinux.shared_label in the configuration")]
    SharedLabel(#[source] LabelError),
    /// A label of a root that is in place.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// `image rm` came between.
    #[error("the base {key} was removed while a container was made from it; try again")]
    BaseRemoved {
        /// The base.
        key: BaseKey,
    },
    /// A base with users is not deleted.
    #[error("the base {key} is used by container {id}; delete its containers first")]
    InUse {
        /// The base.
        key: BaseKey,
        /// One of the containers.
        id: String,
    },
    /// The changes of a container are not lost: they are in its snapshot.
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
    /// What the container held when it was stopped does not come into the new snapshot.
    #[error("bring what container {id} holds over its image into a snapshot")]
    BringIn {
        /// The container.
        id: String,
        /// The step and its reason.
        source: ChangeError,
    },
    /// The size that a container's snapshot is to have.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The changes of this container, or of another one of its ID, have no place to go to.
    #[error(
        "the volume {volume} holds changes of an earlier container {id} that are not written back to {upper}, \
         which is not known to be the upper directory of this one: remove that container with its engine, then call `sharedroot gc`"
    )]
    Unsaved {
        /// The container ID.
        id: String,
        /// The snapshot.
        volume: VolumeName,
        /// Where the changes belong.
        upper: PathBuf,
    },
    /// What came into the engine's overlay after the container's last stop does not come into its snapshot.
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
    /// Neither of two versions of a file is known to be the newer one.
    #[error(
        "tell whether {path} of container {id} in its engine's overlay is newer than in its snapshot {volume}: it is not what it was \
         when the container began, and its change time is older: remove {} if the container's is to stand, or copy it into the \
         container again if the engine's is; then start the container",
        copy.display()
    )]
    Unclear {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The path in the container.
        path: PathBuf,
        /// Where the engine has it.
        copy: PathBuf,
    },
    /// Only a private root can be a snapshot.
    #[error(
        "the root of container {id} is its snapshot {volume}, which holds what its engine's overlay cannot ({first}), and it \
         would get another root now ({why}): mend the reason, or give the snapshot up by `sharedroot pool drop {volume}`"
    )]
    OnlyInSnapshot {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The first of what it holds.
        first: String,
        /// Why it would get another one.
        why: String,
    },
    /// An administrator was quicker.
    #[error(
        "the snapshot {volume} of container {id} was deleted while the container was made; start it again"
    )]
    Dropped {
        /// The container.
        id: String,
        /// The snapshot.
        volume: VolumeName,
    },
    /// No container has such a snapshot.
    #[error("{volume} is no snapshot of a container; `sharedroot pool inspect` lists them")]
    NoSnapshot {
        /// What was named.
        volume: VolumeName,
    },
    /// What is deleted now would be what the start has just written.
    #[error(
        "the container of the snapshot {volume} is being started; nothing was deleted: stop the container first"
    )]
    Starting {
        /// The snapshot.
        volume: VolumeName,
    },
    /// An engine that packs a layer now would miss a part, and not know.
    #[error(
        "give the engine what container {id} changed: {count} of its files cannot be in the engine's overlay, and an image made \
         now would lack them ({first}); keep them in a volume, or create the container with the annotation \
         dev.sharedroot.mode=off"
    )]
    NotInOverlay {
        /// The container.
        id: String,
        /// How many files.
        count: u64,
        /// The first of them.
        first: String,
    },
    /// A container that goes on has a root whose changes its engine cannot get.
    #[error(
        "give the engine what the container changed: its root and the engine's overlay below it are not mounted at \
         {path}; stop it instead"
    )]
    NowhereToGo {
        /// Where they should be.
        path: PathBuf,
    },
    /// A pool with users stays.
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
    /// A pool is destroyed only by who says so twice.
    #[error("the pool {pool} is as it was; `sharedroot pool destroy --force` destroys it")]
    NotForced {
        /// The pool.
        pool: PoolName,
    },
    /// A directory of ours.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// What the program knows of its containers.
    #[error(transparent)]
    Containers(ContainersError),
    /// Who uses a base.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A directory or lock of ours.
    #[error("{step} {path}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
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
