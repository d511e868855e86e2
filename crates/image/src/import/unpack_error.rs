//! Why a layer cannot be unpacked.

use std::io;
use std::path::PathBuf;

use super::beneath::os;
use super::room::Lacking;
use super::tar_stream::{Entry, TarError};

/// What failed of a layer.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A step of an entry failed.
    #[error("entry {path:?}: {step}")]
    Entry {
        /// The name of the entry, as the tar has it.
        path: PathBuf,
        /// The step that failed.
        step: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// An entry contradicts itself or the layers.
    #[error("entry {path:?} {what}")]
    Invalid {
        /// The name of the entry, as the tar has it.
        path: PathBuf,
        /// What is wrong, as the rest of a sentence that begins with the entry.
        what: String,
    },
    /// The disk would have less than its reserve.
    #[error(
        "unpacking needs more room: the file system of {path} has {lacking}; make room there, or set pool.state_dir to a \
         larger disk"
    )]
    Room {
        /// The directory of the layer.
        path: PathBuf,
        /// What the disk has too little of.
        lacking: Lacking,
    },
}

/// Makes the error of a step of an entry.
pub(super) fn failed<E: Into<io::Error>>(
    entry: &Entry,
    step: &'static str,
) -> impl FnOnce(E) -> UnpackError {
    let path = PathBuf::from(os(&entry.path));
    move |source| UnpackError::Entry { path, step, source: source.into() }
}

/// Makes the error of an entry that contradicts itself or the layers.
pub(super) fn invalid(entry: &Entry, what: impl Into<String>) -> UnpackError {
    UnpackError::Invalid { path: os(&entry.path).into(), what: what.into() }
}
