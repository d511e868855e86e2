//! A mount at its place, and its removal.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::UnmountFlags;

use super::MountError;
use crate::chain::chain;

/// A mount at its place. Dropping this guard unmounts it.
#[derive(Debug)]
#[must_use = "dropping the guard unmounts"]
pub struct Attached {
    path: PathBuf,
    kept: bool,
}

impl Attached {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), kept: false }
    }

    /// Disarms the guard: the mount stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = detach(&self.path)
        {
            tracing::warn!("{}", chain(&error));
        }
    }
}

/// Unmounts the topmost mount at `path` and never follows a symbolic link.
///
/// The mount leaves the mount table at once. The file system ends with its last user (umount2(2), MNT_DETACH).
///
/// # Errors
/// [`MountError::Unmount`].
pub fn detach(path: &Path) -> Result<(), MountError> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|source| MountError::Unmount { path: path.to_owned(), source })
}

/// The device number of the file system at `path`, major and minor, if `path` is the root of a mount.
///
/// This costs one statx(2), however long the mount table is.
#[must_use]
pub fn device_mounted_at(path: &Path) -> Option<(u32, u32)> {
    let found =
        rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
    let known = found.stx_attributes_mask & found.stx_attributes;
    known
        .contains(StatxAttributes::MOUNT_ROOT)
        .then_some((found.stx_dev_major, found.stx_dev_minor))
}
