//! The label of masked directories.
//!
//! The engine masks a directory with an empty file system in memory, and gives it no label: it would take one for every
//! mount of the container, also where the kernel has one superblock for all. A container may not even list such a mask.
//! So an empty file system with the container's label is put over it, as runc's and crun's masks have it. The engine's
//! stays below, and nothing is masked by ours alone: whatever path it comes to, more is hidden and nothing less.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_label::MountLabel;
use sharedroot_sys::mount::{self, MountError, Setting};

use super::mount_ns::{self, MountNs, MountNsError};

/// A mask without its label.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The container's mount namespace.
    #[error("label the masked directories: {0}")]
    Enter(#[from] MountNsError),
    /// The masked directory.
    #[error("linux.maskedPaths: open the container's {path}: {source}")]
    Open {
        /// As it is in config.json.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The file system, or its place.
    #[error("linux.maskedPaths ({path}): {source}")]
    Mount {
        /// As it is in config.json.
        path: PathBuf,
        /// The mount's own error.
        source: MountError,
    },
}

/// Puts empty file systems with the label over the masked directories of the container whose waiting init process is `pid`.
///
/// # Errors
/// [`MaskError`].
pub fn label(spec: &Spec, label: Option<&MountLabel>, pid: i32) -> Result<(), MaskError> {
    let masked = spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_deref());
    let (Some(label), Some(masked @ [_, ..])) = (label, masked) else { return Ok(()) };
    mount_ns::enter(pid, |inside| {
        masked.iter().try_for_each(|path| cover(inside, Path::new(path), label))
    })?
}

fn cover(inside: &MountNs, path: &Path, label: &MountLabel) -> Result<(), MaskError> {
    let directory = match inside.open(path, OFlags::DIRECTORY) {
        Ok(directory) => directory,
        // A file's mask is the null device; of what is not there, the engine masks nothing.
        Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => return Ok(()),
        Err(source) => return Err(MaskError::Open { path: path.to_owned(), source }),
    };
    mount::empty(&[Setting::Value("context", label.as_context())])
        .and_then(|mask| mask.cover(&directory, path))
        .map_err(|source| MaskError::Mount { path: path.to_owned(), source })
}
