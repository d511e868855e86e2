//! The container's root file system: a pure plan, then the acts that make it so, and their undo.
//! The only place where thin volumes, mounts and labels meet.

mod base;
mod base_name;
mod base_tree;
mod destinations;
mod earlier;
mod forgotten;
mod import;
mod labels;
mod landing;
mod links;
mod needs;
mod note;
mod notice;
mod origin;
mod over_proc;
mod overlaid;
mod plan;
mod pool;
mod private;
mod room;
mod scaffold;
mod shared;
mod size;
mod skeleton;
mod writeback;

use std::path::{Path, PathBuf};

use sharedroot_dm::{Backing, Bytes, Pool, PoolConfig, PoolName, VolumeName};

pub use base_tree::BaseTree;
pub use destinations::lead_into_mounts;
pub use earlier::Earlier;
pub use forgotten::{Fate, delete_forgotten};
pub use import::{Imported, Stage};
pub use labels::Mislabelled;
pub use links::refuse_links;
pub use needs::{Needs, device_in_root};
pub use over_proc::refuse_over_proc;
pub use plan::{AnnotationError, Facts, Mode, Plan, plan, wanted_size};
pub use private::{Place, WrittenBack, prepare_private, release_private, save_so_far, volume_name};
pub use scaffold::{NotAScaffold, ScaffoldName};
pub use shared::prepare_shared;

use crate::config::{Config, Media};
use crate::image::catalog::CatalogError;
use crate::image::changes::ChangeError;
use crate::image::{BaseKey, Digest, ImportError, KeyError, MakeError, WalkError};
use crate::label::{LabelError, SharedLabel};
use crate::mount::MountError;
use crate::record::RecordError;
use needs::Kind;

/// A root file system that could not be made or unmade.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A file on a directory, or a directory on a file. Docker takes "is a directory" for a program that cannot be executed.
    #[error(
        "mount {} at {}: not a directory: {}",
        what.as_deref().unwrap_or(Path::new("a file system")).display(),
        destination.display(),
        match wanted {
            Kind::File => "a file cannot be mounted on a directory",
            Kind::Directory => "a directory cannot be mounted on a file",
        }
    )]
    Kinds {
        /// What is mounted, if it is the host's.
        what: Option<PathBuf>,
        /// As the configuration has it.
        destination: PathBuf,
        /// What the source is.
        wanted: Kind,
    },
    /// The pool or a volume.
    #[error(transparent)]
    Dm(#[from] sharedroot_dm::Error),
    /// A name from the configuration, the command line or of a volume.
    #[error(transparent)]
    Name(#[from] sharedroot_dm::NameError),
    /// Making the base.
    #[error("make the base of {key}: {source}")]
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
    #[error("selinux.shared_label in the configuration: {0}")]
    SharedLabel(LabelError),
    /// The policy names no shared label that can be used.
    #[error("no base is shared: {0}")]
    NoSharedLabel(LabelError),
    /// A label of a root that is in place.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The file system is in use under another label, of which it can have one.
    #[error(
        "mount the base {key} with the shared label {label}: {source}; something left of an earlier mount may \
         hold it under another label, which ends with the last process that sees that mount"
    )]
    OtherLabel {
        /// The base.
        key: BaseKey,
        /// The shared label.
        label: SharedLabel,
        /// The kernel's words.
        source: MountError,
    },
    /// Another container is making the base, and the configuration says not to wait.
    #[error("another container is making the base {key}, and base.wait is false")]
    BeingMade {
        /// The base.
        key: BaseKey,
    },
    /// What the base lacks could not be put above it.
    #[error("put {path} above the base {key}: {source}")]
    Scaffold {
        /// The base.
        key: BaseKey,
        /// The first missing mount point, or the container's upper directory.
        path: PathBuf,
        /// The step and its reason.
        source: Box<RootfsError>,
    },
    /// The name of a scaffold in a record.
    #[error(transparent)]
    ScaffoldName(#[from] NotAScaffold),
    /// The key of a base in a record.
    #[error(transparent)]
    Key(#[from] KeyError),
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
        "write what container {id} changed back to its engine: {source}; nothing is lost: the changes are in the \
         volume {volume}, and the next `delete` or start of the container writes them again"
    )]
    WriteBack {
        /// The container.
        id: String,
        /// The snapshot.
        volume: VolumeName,
        /// The step and its reason.
        source: ChangeError,
    },
    /// What the container held when it was stopped does not come into the new snapshot.
    #[error("bring what container {id} holds over its image into a snapshot: {source}")]
    BringIn {
        /// The container.
        id: String,
        /// The step and its reason.
        source: ChangeError,
    },
    /// A snapshot is as large as its base.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is more than the {base} of the image's base: raise base.size in the \
         configuration, then `sharedroot image rm` the base, which is made anew with that size"
    )]
    SizeAboveBase {
        /// What is wanted.
        wanted: Bytes,
        /// The base's size.
        base: Bytes,
    },
    /// The image alone is larger.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is less than the {needs} that the image takes, with the number of its \
         files and the file system's own: give it more"
    )]
    SizeBelowImage {
        /// What is wanted.
        wanted: Bytes,
        /// What a file system of the image's files takes.
        needs: Bytes,
    },
    /// The snapshot cannot be made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: make the snapshot {volume} as small as {wanted}: {source}"
    )]
    Fit {
        /// The snapshot.
        volume: VolumeName,
        /// What is wanted.
        wanted: Bytes,
        /// The step and its reason.
        source: MakeError,
    },
    /// What a container wrote into is not made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: the snapshot {volume} that the container goes on with has {kept}, more than \
         {wanted}: leave the annotation as it was, or give the snapshot up with `sharedroot pool drop {volume}`"
    )]
    SizeOfKept {
        /// The snapshot.
        volume: VolumeName,
        /// Its size.
        kept: Bytes,
        /// What is wanted.
        wanted: Bytes,
    },
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
        "bring what was written into the stopped container {id} into its snapshot {volume}: {source}; \
         `sharedroot pool drop {volume}` gives the snapshot up"
    )]
    BringNewer {
        /// The container.
        id: String,
        /// Its snapshot.
        volume: VolumeName,
        /// The step and its reason.
        source: ChangeError,
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
    /// The image has a name that ours would be.
    #[error("make {name} in the snapshot's file system: the image has that name")]
    NameTaken {
        /// The name, at the top.
        name: &'static str,
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
    /// The engine would follow it out of the root.
    #[error(
        "a component of {path} is a symbolic link in the root: the engine makes files there and would follow it \
         out of the container; make it a directory in the image"
    )]
    Link {
        /// The path in the container.
        path: PathBuf,
    },
    /// What the kernel and the runtime take for procfs would be something else.
    #[error(
        "mounts[{at}].destination: {destination} would cover {lands} in the container; \
         nothing but procfs can be mounted there, give the mount another place"
    )]
    OverProc {
        /// Which mount.
        at: usize,
        /// As it is given.
        destination: PathBuf,
        /// With the links of the image resolved.
        lands: PathBuf,
    },
    /// The records of containers.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A directory or lock of ours.
    #[error("{step} {path}: {source}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl RootfsError {
    /// Whether the container can run all the same, on the rootfs as given: the image, or what the
    /// container holds over it, is larger than bases are, its base is being made, nothing can be put
    /// above it, or the policy has no label for it.
    #[must_use]
    pub fn leaves_as_given(&self) -> bool {
        match self {
            Self::Make { source, .. } => {
                use MakeError::{Attributes, LongPath, Special, Time, TooLarge, Unspeakable};
                matches!(
                    source,
                    TooLarge { .. }
                        | Unspeakable { .. }
                        | Attributes { .. }
                        | Special { .. }
                        | LongPath { .. }
                        | Time { .. }
                )
            }
            Self::BringIn { source, .. } => source.source == rustix::io::Errno::NOSPC,
            Self::BeingMade { .. } | Self::Scaffold { .. } | Self::NameTaken { .. } => true,
            Self::NoSharedLabel(_) | Self::OtherLabel { .. } => true,
            _ => false,
        }
    }
}

/// Where things are and how bases are made; what the configuration says of storage.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The thin pool.
    pub pool: PoolConfig,
    /// Size of a base's file system.
    pub base_size: Bytes,
    /// Whether a container waits for a base that another one is making.
    pub base_wait: bool,
    /// The label of bases, instead of the one that the policy names.
    pub shared_label: Option<SharedLabel>,
}

impl Storage {
    /// From the configuration file.
    ///
    /// # Errors
    /// [`RootfsError::Name`] for a name that cannot be part of a device name, or is none of LVM's;
    /// [`RootfsError::SharedLabel`] for a label that is malformed or has categories.
    pub fn of(config: &Config) -> Result<Self, RootfsError> {
        let pool = &config.pool;
        let backing = match (&pool.media, Backing::default_loop()) {
            (Media::Loop(Some(size)), Backing::Loop { metadata, .. }) => {
                Backing::Loop { data: Bytes(size.0), metadata }
            }
            (Media::Loop(_), default) => default,
            (Media::Devices { data, metadata }, _) => {
                Backing::Devices { data: data.clone(), metadata: metadata.clone() }
            }
            (Media::Lvm(name), _) => Backing::Lvm(name.parse()?),
        };
        let name: PoolName = pool.name.parse()?;
        let on_loop = PoolConfig::on_loop(name, pool.state_dir.clone(), pool.run_dir.clone());
        let pool = PoolConfig { backing, ..on_loop };
        let shared_label = config.selinux.shared_label.as_deref().map(SharedLabel::parse);
        Ok(Self {
            pool,
            base_size: Bytes(config.base.size.0),
            base_wait: config.base.wait,
            shared_label: shared_label.transpose().map_err(RootfsError::SharedLabel)?,
        })
    }

    /// Where the base of `key` is mounted.
    #[must_use]
    pub fn base_mount(&self, key: &BaseKey) -> PathBuf {
        self.pool.run_dir.join("base").join(key.to_string())
    }

    /// Where prepared volumes are placed in a container's own mount namespace. Not below the run
    /// directory, which only root may enter: root of a user namespace must reach them.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        let mut name = self.pool.run_dir.clone().into_os_string();
        name.push("-volumes");
        name.into()
    }

    /// The pool, if it has been made.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn pool_if_made(&self) -> Result<Option<Pool>, RootfsError> {
        Ok(if Pool::exists(&self.pool)? { Some(Pool::open(&self.pool)?) } else { None })
    }

    /// The thin volume of the base of `key`.
    fn base_volume(key: &BaseKey) -> Result<VolumeName, RootfsError> {
        Ok(base_name::volume_of(key)?)
    }

    /// The key of the base whose thin volume this is, if it is one.
    #[must_use]
    pub fn base_of(volume: &VolumeName) -> Option<BaseKey> {
        base_name::key_of(volume)
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

fn file<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> RootfsError + 'a {
    move |source| RootfsError::File { step, path: path.to_owned(), source }
}
