//! Why the volumes of a container cannot be prepared.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use sharedroot_sys::mount::MountError;

use super::mount_ns::MountNsError;
use super::propagation::Kind;
use crate::spec::error::SpecError;

/// A volume could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BindMountError {
    /// The engine cannot honour a field.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The source of a mount cannot be opened, or the mount cannot be placed.
    #[error("mounts[{index}] ({destination})")]
    Mount {
        /// The index in the configuration's `mounts`.
        index: usize,
        /// The mount's destination.
        destination: PathBuf,
        /// The error of the mount operation.
        source: MountError,
    },
    /// The mount namespace, or the directory of the prepared volumes, cannot be made.
    #[error("prepare the volumes")]
    Stage(#[from] MountError),
    /// The container's mount namespace cannot be entered.
    #[error("settle the volumes")]
    Enter(#[from] MountNsError),
    /// An operation on a directory, file or descriptor failed.
    #[error("{step} {path}")]
    Step {
        /// The operation.
        step: &'static str,
        /// The path that the operation was applied to.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The kernel refused the propagation.
    #[error("make the volume {path} {kind:?}: {why}")]
    Propagate {
        /// The source, or the destination in the container.
        path: PathBuf,
        /// The propagation.
        kind: Kind,
        /// The kernel's error.
        why: String,
    },
    /// A file system in memory could not get its content: a copy of the image's directory, or the directory in which
    /// the process starts.
    #[error("mounts[{index}] ({destination}): fill the file system in memory: {why}")]
    Fill {
        /// The index in the configuration's `mounts`.
        index: usize,
        /// The mount's destination.
        destination: PathBuf,
        /// The operation that failed, and its error.
        why: String,
    },
}

pub(super) fn in_mount(index: usize, mount: &Mount) -> impl FnOnce(MountError) -> BindMountError {
    let destination = mount.destination().clone();
    move |source| BindMountError::Mount { index, destination, source }
}

pub(super) fn failed(
    step: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> BindMountError {
    let path = path.to_owned();
    move |source| BindMountError::Step { step, path, source }
}
