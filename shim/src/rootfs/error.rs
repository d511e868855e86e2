//! Why a configuration and a root do not go together.

use std::path::{Path, PathBuf};

use sharedroot_bases::Kind;

/// A root that the container cannot have as its configuration wants it.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
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
    /// The engine would follow it out of the root.
    #[error(
        "a component of {path} is a symbolic link in the root: the engine makes files there and would follow it \
         out of the container; make it a directory in the image"
    )]
    Link {
        /// The path in the container.
        path: PathBuf,
    },
    /// The start itself brought the link.
    #[error(
        "mounts[{at}].destination: a symbolic link that the container made before its last end leads {destination} to {lands}; \
         give the mount another place, or start the container again to have it there"
    )]
    LinkOfLastRun {
        /// Which mount.
        at: usize,
        /// As it is given.
        destination: PathBuf,
        /// With the links of the root resolved.
        lands: PathBuf,
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
    /// A directory or file of the root.
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

pub(super) fn file<'a>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> RootError + 'a {
    move |source| RootError::File { step, path: path.to_owned(), source }
}
