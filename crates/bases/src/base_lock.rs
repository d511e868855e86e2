//! The lock of one base. A process holds the lock while it makes, mounts, unmounts or removes the base, or anything above the
//! base.
//!
//! A function that needs the lock takes the lock as an argument. The kernel releases the lock when its process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use sharedroot_format::BaseKey;
use sharedroot_sys::private_dir::private_dir;

use crate::bases::Bases;
use crate::error::{RootfsError, file};
use crate::not_shared::NotShared;

/// A base's lock, held until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub(crate) struct BaseLock {
    key: BaseKey,
    file: File,
}

impl Drop for BaseLock {
    fn drop(&mut self) {
        // A process that was forked meanwhile shares this open file, and the lock with it.
        let _ = self.file.unlock();
    }
}

impl BaseLock {
    /// The base that is locked.
    pub(crate) fn key(&self) -> &BaseKey {
        &self.key
    }
}

impl Bases {
    /// Waits for the lock.
    pub(crate) fn lock_base(&self, key: &BaseKey) -> Result<BaseLock, RootfsError> {
        let (path, lock) = self.open_lock(key)?;
        lock.lock().map_err(file("lock", &path))?;
        Ok(BaseLock { key: key.clone(), file: lock })
    }

    /// Takes the lock, or returns `None` if another process holds it.
    pub(crate) fn try_lock_base(&self, key: &BaseKey) -> Result<Option<BaseLock>, RootfsError> {
        let (path, lock) = self.open_lock(key)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(BaseLock { key: key.clone(), file: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(file("lock", &path)(error)),
        }
    }

    /// Takes the lock for a container, which can also run without the base.
    pub(crate) fn lock_base_if_wanted(&self, key: &BaseKey) -> Result<BaseLock, RootfsError> {
        if self.config().base_wait {
            return self.lock_base(key);
        }
        self.try_lock_base(key)?.ok_or_else(|| NotShared::BeingMade { key: key.clone() }.into())
    }

    fn open_lock(&self, key: &BaseKey) -> Result<(PathBuf, File), RootfsError> {
        let dir = self.run_dir().join("lock");
        private_dir(&dir)?;
        let path = dir.join(format!("base-{key}"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(&path).map_err(file("open", &path))?;
        Ok((path, lock))
    }
}
