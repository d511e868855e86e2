//! The label of masked directories.
//!
//! The engine masks a directory with an empty file system in memory without a label: the engine would use one label for
//! all mounts of the container, also for those of which the kernel has only one superblock. The container may not even
//! list a directory with such a mask. So an empty file system with the container's label is mounted over the mask, as
//! runc's and crun's masks have it. The engine's mask stays below. So if this mount is at a wrong path, more is hidden,
//! and nothing less.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_label::MountLabel;
use sharedroot_sys::mount::{self, MountError, Setting};

use super::mount_ns::{self, MountNs, MountNsError};

/// A mask could not get its label.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The container's mount namespace cannot be entered.
    #[error("label the masked directories")]
    Enter(#[from] MountNsError),
    /// The masked directory cannot be opened.
    #[error("linux.maskedPaths: open the container's {path}")]
    Open {
        /// The path in config.json.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The file system cannot be made, or cannot be mounted there.
    #[error("linux.maskedPaths ({path})")]
    Mount {
        /// The path in config.json.
        path: PathBuf,
        /// The error of the mount operation.
        source: MountError,
    },
}

/// Mounts empty file systems with the label over the masked directories, in the container whose waiting init process is
/// `pid`.
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
        // The mask of a file is the null device. The engine does not mask a path that does not exist.
        Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => return Ok(()),
        Err(source) => return Err(MaskError::Open { path: path.to_owned(), source }),
    };
    mount::empty(&[Setting::Value("context", label.as_context())])
        .and_then(|mask| mask.cover(&directory, path))
        .map_err(|source| MaskError::Mount { path: path.to_owned(), source })
}
