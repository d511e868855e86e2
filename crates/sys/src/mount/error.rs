//! What failed of a mount, and on what.

use std::path::PathBuf;

use rustix::io::Errno;

/// A step of mounting that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused an option or the whole file system.
    #[error("mount the {fstype} file system of {what}: {step}: {cause}{detail}")]
    Make {
        /// The system call, or the option that the kernel refused.
        step: String,
        /// The type of the file system: ext4, overlay, tmpfs.
        fstype: &'static str,
        /// The device or the topmost layer.
        what: PathBuf,
        /// What the kernel wrote into the file-system context, in brackets; empty if it wrote nothing.
        detail: String,
        /// The error number.
        cause: Errno,
    },
    /// An existing mount could not be opened for a bind.
    #[error("open the mount {path} for a bind")]
    Open {
        /// The mount.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The mount could not be attached at its mount point.
    #[error("attach a mount at {path}")]
    Attach {
        /// The mount point.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The mount could not be detached from its mount point.
    #[error("unmount {path}")]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The process or thread could not get a mount namespace of its own.
    #[error("make a private mount namespace: {step}")]
    Namespace {
        /// The system call.
        step: &'static str,
        /// The error number.
        source: Errno,
    },
}

impl MountError {
    /// Whether the kernel refused an option of the file system, or the option together with another mount of the same file
    /// system (EINVAL).
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Make { cause: Errno::INVAL, .. })
    }
}
