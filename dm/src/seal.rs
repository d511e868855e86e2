//! A complete volume sealed: from then on it never changes.

use std::fs::File;

use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};

/// The result of [`Pool::seal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The volume is sealed, and was deactivated if this call sealed it.
    Sealed,
    /// The volume is mounted or open. Nothing has changed.
    InUse,
}

impl Pool {
    /// Flushes a complete volume to the disk, deactivates it and seals it. A sealed volume never changes again: it is activated
    /// read-only, and a snapshot of it needs no suspend. Sealing a sealed volume changes nothing.
    ///
    /// The flush may take long, so no lock is held over it. Nobody writes the volume between the flush and the deactivation,
    /// except a program that opens the device by itself.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::Unfinished`] or [`Error::VolumeLocked`] if there is no complete volume; [`Error::Flush`];
    /// the kernel refuses, or the store cannot be written.
    pub fn seal(&self, name: &VolumeName) -> Result<Sealed, Error> {
        let row = self.ready_row(name)?;
        if row.sealed {
            return Ok(Sealed::Sealed);
        }
        if self.is_open(&row)? {
            return Ok(Sealed::InUse);
        }
        self.flush(&row)?;
        let (pool, run_dir) = (&self.config.name, &self.config.run_dir);
        let _lock = Lock::volume(run_dir, pool, name)?;
        // Another volume may have the name by now.
        let same = |now: &VolumeRow| now.id == row.id && now.phase == Phase::Ready;
        let Some(row) = self.row(name)?.filter(same) else {
            return Err(Error::NoVolume { volume: name.clone(), pool: pool.clone() });
        };
        if row.sealed {
            return Ok(Sealed::Sealed);
        }
        if self.is_open(&row)? {
            return Ok(Sealed::InUse);
        }
        match self.deactivate_row(&row) {
            Err(Error::Busy { .. }) => return Ok(Sealed::InUse),
            deactivated => deactivated?,
        }
        step("volume deactivated");
        self.store.write(|w| w.set_sealed(pool, name))?;
        step("volume sealed");
        Ok(Sealed::Sealed)
    }

    /// Whether the volume is mounted or open, in any mount namespace. To ask is cheap, because the users are not looked for.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn is_in_use(&self, name: &VolumeName) -> Result<bool, Error> {
        self.row(name)?.map_or(Ok(false), |row| self.is_open(&row))
    }

    fn is_open(&self, row: &VolumeRow) -> Result<bool, Error> {
        Ok(self.device_of(row)?.is_some_and(|device| device.open))
    }

    /// Flushes the volume if it is active.
    fn flush(&self, row: &VolumeRow) -> Result<(), Error> {
        let Some(device) = self.device_of(row)?.filter(|device| device.live) else {
            return Ok(());
        };
        let flushed = File::open(device.node()).and_then(|device| device.sync_all());
        step("volume flushed");
        let (volume, pool) = (row.name.clone(), self.config.name.clone());
        flushed.map_err(|source| Error::Flush { volume, pool, source })
    }
}
