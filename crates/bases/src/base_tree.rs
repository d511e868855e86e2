//! The files of a base, for verification and export, which read all of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sharedroot_dm::{Pool, VolumeName};
use sharedroot_format::BaseKey;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Detached};

use super::base::sealed;
use super::base_lock::BaseLock;
use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// The tree of a base, open for reading. While this value lives, nobody removes the base.
#[derive(Debug)]
pub struct BaseTree<'b> {
    // Fields drop in this order: the descriptor, the mount, then the device.
    top: OwnedFd,
    _mount: Option<Detached>,
    active: Active<'b>,
    _lock: BaseLock,
}

/// The device of a base. Drop deactivates the device if [`Bases::open_base`] activated it.
#[derive(Debug)]
struct Active<'b> {
    pool: &'b Pool,
    name: VolumeName,
    device: PathBuf,
    before: bool,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        if !self.before
            && let Err(error) = self.pool.deactivate(&self.name)
        {
            tracing::warn!("{}", chain(&error));
        }
    }
}

impl Bases {
    /// Opens a base at its mount point. A base that is not mounted gets a detached mount.
    ///
    /// # Errors
    /// [`RootfsError::NoBase`], or the error of the pool or of the mount.
    pub fn open_base(
        &self,
        key: &BaseKey,
        volume: &VolumeName,
    ) -> Result<BaseTree<'_>, RootfsError> {
        let lock = self.lock_base(key)?;
        let pool = self.active_pool()?;
        let name = volume.clone();
        let no_base = || RootfsError::NoBase { key: key.clone() };
        let before = pool.ready(&name)?.ok_or_else(no_base)?.active;
        let device = pool.activate(&name)?.device;
        let active = Active { pool, name, device, before };
        let at = self.base_mount(key);
        let open = |dir: BorrowedFd<'_>, path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, path, flags, Mode::empty())
                .map_err(|errno| file("open", &at)(errno.into()))
        };
        let mount = match mount::device_mounted_at(&at) {
            Some(_) => None,
            None => Some(sealed(key, &active.device, self.labels().for_a_look()?)?),
        };
        let top = match &mount {
            Some(mount) => open(mount.as_fd(), Path::new("."))?,
            None => open(rustix::fs::CWD, &at)?,
        };
        Ok(BaseTree { top, _mount: mount, active, _lock: lock })
    }
}

impl BaseTree<'_> {
    /// The top of the tree.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// The base's block device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.active.device
    }

    /// Bytes of the file system that are in use, including the file system's own tables.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn used(&self) -> Result<u64, RootfsError> {
        let stat = rustix::fs::fstatvfs(&self.top)
            .map_err(|errno| file("statvfs", &self.active.device)(errno.into()))?;
        Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
    }
}
