//! Volumes of a pool: found, listed, activated, resized, deactivated.

use std::path::PathBuf;

use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Device;
use crate::lock::Lock;
use crate::names::{DmIdentity, ThinId};
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::units::Bytes;
use crate::volume_device::device_is_shorter;

/// A volume in the store and the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The volume's name.
    pub name: VolumeName,
    /// The volume's thin id in the pool.
    pub id: ThinId,
    /// The size of the volume's device. The volume uses less of the pool while parts of it were never written.
    pub size: Bytes,
    /// The volume that this one is a snapshot of. The origin may be deleted by now.
    pub origin: Option<VolumeName>,
    /// Whether the volume is complete, or being created or deleted.
    pub phase: Phase,
    /// The volume never changes again: it is activated read-only, and a snapshot of it needs no suspend.
    pub sealed: bool,
    /// The volume has a dm device.
    pub active: bool,
}

/// The dm device of an active volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveVolume {
    /// `/dev/dm-N`
    pub device: PathBuf,
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
}

impl From<&Device> for ActiveVolume {
    fn from(device: &Device) -> Self {
        Self { device: device.node(), major: device.number.major, minor: device.number.minor }
    }
}

impl Volume {
    /// Whether the volume is complete: it is not being created or deleted.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }
}

impl Pool {
    /// The volume called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let mut row = self.row(name)?;
        while let Some(known) = row {
            match self.device_of(&known) {
                Ok(device) => return Ok(Some(volume(known, device.is_some()))),
                // Perhaps the volume was deleted, and created again, after the row was read.
                Err(error) => match self.row(name)? {
                    Some(same) if same == known => return Err(error),
                    other => row = other,
                },
            }
        }
        Ok(None)
    }

    /// The volume, or `None` if there is no complete volume of that name.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn ready(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        Ok(self.volume(name)?.filter(Volume::is_ready))
    }

    /// All volumes, ordered by name, with those that are being created or deleted.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        let pool = &self.config.name;
        let names =
            self.kernel.names().map_err(|source| Error::List { pool: pool.clone(), source })?;
        let rows = self.store.volumes(pool)?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let active = names.contains(&pool.device_of(&row.name));
                volume(row, active)
            })
            .collect())
    }

    /// Activates the volume: creates its dm device, read-only if the volume is sealed. An active volume is not changed.
    ///
    /// # Errors
    /// [`Error::NoVolume`]; [`Error::Unfinished`] or [`Error::VolumeLocked`] if the volume is not complete;
    /// [`Error::LostVolume`].
    pub fn activate(&self, name: &VolumeName) -> Result<ActiveVolume, Error> {
        let row = self.ready_row(name)?;
        // An error is ignored here, because it may come from another volume that has the name by now. It is reported under the
        // lock.
        if let Ok(Some(device)) = self.device_of(&row)
            && device.live
            && !device.suspended
            && !device_is_shorter(&device, &row)
        {
            return Ok(ActiveVolume::from(&device));
        }
        let (_lock, row) = self.locked(name)?;
        Ok(ActiveVolume::from(&self.ensure_active(&row)?))
    }

    /// Deactivates the volume: removes its dm device. An inactive volume is not changed.
    ///
    /// # Errors
    /// [`Error::Busy`] if the volume is mounted or open.
    pub fn deactivate(&self, name: &VolumeName) -> Result<(), Error> {
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        self.row(name)?.map_or(Ok(()), |row| self.deactivate_row(&row))
    }

    /// Grows a volume to `size`, rounded up to whole blocks, and returns the new size. The device of an active volume grows at
    /// once, also while the volume is mounted.
    ///
    /// The store gets the new size first. If this process dies before the device has grown, the next activation makes the
    /// device larger.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::ShrinkVolume`]; and the errors of [`Pool::activate`].
    pub fn resize(&self, name: &VolumeName, size: Bytes) -> Result<Bytes, Error> {
        let size = self.whole_blocks(name, size)?;
        let (_lock, row) = self.locked(name)?;
        let (volume, pool) = (name.clone(), self.config.name.clone());
        if row.sealed {
            return Err(Error::Sealed { volume, pool });
        }
        if size < row.size {
            return Err(Error::ShrinkVolume { volume, pool, from: row.size, to: size });
        }
        self.store.write(|w| w.set_size(&pool, name, size))?;
        step("size recorded");
        let row = VolumeRow { size, ..row };
        if self.device_of(&row)?.is_some_and(|device| device.live) {
            self.ensure_active(&row)?;
        }
        Ok(size)
    }

    /// `size` rounded up to whole blocks.
    ///
    /// # Errors
    /// [`Error::Size`] if the size is 0 or too large.
    pub(crate) fn whole_blocks(&self, name: &VolumeName, size: Bytes) -> Result<Bytes, Error> {
        if size.0 == 0 || size.0 > i64::MAX as u64 / 2 {
            return Err(Error::Size { volume: name.clone(), size });
        }
        Ok(size.round_up(self.block))
    }

    /// The lock and the row of a volume that is complete.
    fn locked(&self, name: &VolumeName) -> Result<(Lock, VolumeRow), Error> {
        let lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        let (volume, pool) = (name.clone(), self.config.name.clone());
        match self.row(name)? {
            Some(row) if row.phase == Phase::Ready => Ok((lock, row)),
            Some(_) => Err(Error::Unfinished { volume, pool }),
            None => Err(Error::NoVolume { volume, pool }),
        }
    }

    /// The row of a volume of this pool. A volume of a later pool with the same name is not returned.
    pub(crate) fn row(&self, name: &VolumeName) -> Result<Option<VolumeRow>, Error> {
        self.store.volume(&self.config.name, &self.identity.uuid, name)
    }

    pub(crate) fn identity_of(&self, row: &VolumeRow) -> DmIdentity {
        DmIdentity::volume(&self.config.name, &self.identity.uuid, &row.name, row.id)
    }

    /// The row of a volume that is complete.
    pub(crate) fn ready_row(&self, name: &VolumeName) -> Result<VolumeRow, Error> {
        let (volume, pool) = (name.clone(), self.config.name.clone());
        match self.row(name)? {
            Some(row) if row.phase == Phase::Ready => Ok(row),
            Some(_) if Lock::try_volume(&self.config.run_dir, &pool, name)?.is_none() => {
                Err(Error::VolumeLocked { volume, pool })
            }
            Some(_) => Err(Error::Unfinished { volume, pool }),
            None => Err(Error::NoVolume { volume, pool }),
        }
    }
}

fn volume(row: VolumeRow, active: bool) -> Volume {
    let VolumeRow { name, id, size, origin, phase, sealed, .. } = row;
    Volume { name, id, size, origin, phase, sealed, active }
}
