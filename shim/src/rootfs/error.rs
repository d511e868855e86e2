//! Why a configuration and a rootfs contradict each other.

use std::path::{Path, PathBuf};

use sharedroot_bases::Kind;

/// The rootfs cannot be used as the configuration asks.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A file on a directory, or a directory on a file. From "is a directory" Docker would conclude that the program
    /// cannot be executed.
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
        /// The source of the mount, if it is a path of the host.
        what: Option<PathBuf>,
        /// The destination in the configuration.
        destination: PathBuf,
        /// What the source is.
        wanted: Kind,
    },
    /// The engine would follow the link out of the root.
    #[error(
        "a component of {path} is a symbolic link in the root: the engine makes files there and would follow the \
         link out of the container; make the component a directory in the image"
    )]
    Link {
        /// The path in the container.
        path: PathBuf,
    },
    /// The image or a container made links that take long.
    #[error(
        "symbolic links of the root lead {path} by way of more names than sharedroot follows; give the mount another place, or \
         shorten the links in the image"
    )]
    ManyNames {
        /// The path in the container.
        path: PathBuf,
    },
    /// The link comes from the changes that this start wrote back.
    #[error(
        "mounts[{at}].destination: a symbolic link that the container made before its last end leads {destination} to {lands}; \
         give the mount another place, or start the container again to mount it at {lands}"
    )]
    LinkOfLastRun {
        /// The index in `mounts`.
        at: usize,
        /// The destination in the configuration.
        destination: PathBuf,
        /// The destination with the links of the root resolved.
        lands: PathBuf,
    },
    /// The kernel and the runtime would use a file that is not procfs's as one.
    #[error(
        "mounts[{at}].destination: {destination} would cover {lands} in the container; \
         nothing but procfs can be mounted there, give the mount another place"
    )]
    OverProc {
        /// The index in `mounts`.
        at: usize,
        /// The destination in the configuration.
        destination: PathBuf,
        /// The destination with the links of the image resolved.
        lands: PathBuf,
    },
    /// An operation on a directory or file of the root failed.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

pub(super) fn file<'a>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> RootError + 'a {
    move |source| RootError::File { step, path: path.to_owned(), source }
}
