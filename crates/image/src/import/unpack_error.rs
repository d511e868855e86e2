//! Why a layer cannot be unpacked.

use std::io;
use std::path::PathBuf;

use super::archive::{Entry, TarError};
use super::beneath::os;

/// An entry that cannot be made, or no entry at all.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry.
    #[error("entry {path:?}: {step}: {source}")]
    Entry {
        /// Its name, as the tar has it.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// An entry that says what cannot be.
    #[error("entry {path:?} {what}")]
    Invalid {
        /// Its name, as the tar has it.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk.
    #[error(
        "unpacking needs more room: the file system of {path} has {free} MiB left, and so much stays free; make room \
         there, or set pool.state_dir to a larger disk"
    )]
    Room {
        /// The layer's directory.
        path: PathBuf,
        /// What it has.
        free: u64,
    },
}

/// A failed step of an entry.
pub(super) fn failed<E: Into<io::Error>>(
    entry: &Entry,
    step: &'static str,
) -> impl FnOnce(E) -> UnpackError {
    let path = PathBuf::from(os(&entry.path));
    move |source| UnpackError::Entry { path, step, source: source.into() }
}
