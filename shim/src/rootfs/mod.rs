//! The container's root file system: a pure plan, then the acts that make it so, and their undo.
//! The only place where thin volumes, mounts and labels meet.

mod base;
mod links;
mod needs;
mod over_proc;
mod plan;
mod pool;
mod private;
mod shared;

use std::path::{Path, PathBuf};

use sharedroot_dm::{Backing, Bytes, Pool, PoolConfig, PoolName, VolumeName};

pub use links::refuse_links;
pub use needs::{make_start_directory, mount_points};
pub use over_proc::refuse_over_proc;
pub use plan::{AnnotationError, Facts, Mode, Plan, plan};
pub use private::{delete_forgotten, prepare_private, release_private, volume_name};
pub use shared::{Rooted, prepare_shared};

use crate::config::{Config, Media};
use crate::image::{BaseKey, MakeError};
use crate::label::LabelError;
use crate::mount::MountError;
use crate::record::RecordError;

/// A root file system that could not be made or unmade.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
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
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The shared label.
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
    /// Others who use the volume could lead the node to another place.
    #[error(
        "linux.devices[{at}].path: {path} lies in the volume mounted at {volume}; \
         give the device a path outside of every volume"
    )]
    DeviceInVolume {
        /// Which device.
        at: usize,
        /// The path of its node in the container.
        path: PathBuf,
        /// The mount it lies in.
        volume: PathBuf,
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
    /// Whether the image is larger than bases are: then it cannot be shared, but it can run.
    #[must_use]
    pub fn is_about_size(&self) -> bool {
        matches!(self, Self::Make { source: MakeError::TooLarge { .. }, .. })
    }
}

/// What the names of bases' volumes begin with.
const BASE: &str = "base-";

/// Where things are and how bases are made; what the configuration says of storage.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The thin pool.
    pub pool: PoolConfig,
    /// Size of a base's file system.
    pub base_size: Bytes,
}

impl Storage {
    /// From the configuration file.
    ///
    /// # Errors
    /// [`RootfsError::Name`] for a name that cannot be part of a device name, or is none of LVM's.
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
        Ok(Self { pool, base_size: Bytes(config.base.size.0) })
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
        Ok(format!("{BASE}{key}").parse()?)
    }

    /// The key of the base whose thin volume this is, if it is one.
    #[must_use]
    pub fn base_of(volume: &VolumeName) -> Option<BaseKey> {
        volume.as_ref().strip_prefix(BASE)?.parse().ok()
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
