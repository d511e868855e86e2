//! A mount that is attached nowhere, and its way to a place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::MoveMountFlags;

use super::{Attached, MountError};

/// A mount that is attached nowhere. It ends with this value.
#[derive(Debug)]
pub struct Detached(pub(super) OwnedFd);

impl From<Detached> for OwnedFd {
    fn from(mount: Detached) -> Self {
        mount.0
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Detached {
    /// The device number of the file system, major and minor; none if the kernel does not tell it.
    #[must_use]
    pub fn device(&self) -> Option<(u32, u32)> {
        let found = rustix::fs::fstat(&self.0).ok()?;
        Some((rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev)))
    }

    /// Whether the file system is an overlay.
    #[must_use]
    pub fn is_overlay(&self) -> bool {
        /// OVERLAYFS_SUPER_MAGIC of linux/magic.h.
        const OVERLAY: u64 = 0x794c_7630;
        rustix::fs::fstatfs(&self.0).is_ok_and(|found| found.f_type as u64 == OVERLAY)
    }

    /// Whether the root of the mount is a directory. The root of a bind of a file is a file.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        rustix::fs::fstat(&self.0)
            .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir())
    }

    /// Attaches the mount at `path`, which must be a directory, or a file if the root of the mount is a file. A symbolic link
    /// at `path` is not followed.
    ///
    /// The guard unmounts it again unless the guard is kept.
    ///
    /// # Errors
    /// [`MountError::Attach`].
    pub fn attach(self, path: &Path) -> Result<Attached, MountError> {
        rustix::mount::move_mount(&self.0, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|source| MountError::Attach { path: path.to_owned(), source })?;
        Ok(Attached::at(path))
    }

    /// Attaches the mount over an open directory or file, without a guard; `path` is the name of the place in an error.
    ///
    /// # Errors
    /// [`MountError::Attach`].
    pub fn cover(self, place: impl AsFd, path: &Path) -> Result<(), MountError> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, "", place, "", flags)
            .map_err(|source| MountError::Attach { path: path.to_owned(), source })
    }
}
