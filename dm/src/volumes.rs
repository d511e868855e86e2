//! Volumes of a pool: looked up, activated, grown, deactivated.

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

/// A volume as the store and the kernel see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Its number in the pool.
    pub id: ThinId,
    /// Its virtual size.
    pub size: Bytes,
    /// What it is a snapshot of. The origin may have been deleted since.
    pub origin: Option<VolumeName>,
    /// How far it has come.
    pub phase: Phase,
    /// It never changes again: it is activated read-only and snapshots of it need no suspend.
    pub sealed: bool,
    /// The kernel has a device of it.
    pub active: bool,
}

/// A volume's device.
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

impl Pool {
    /// The volume, or none.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let mut row = self.row(name)?;
        while let Some(known) = row {
            match self.device_of(&known) {
                Ok(device) => return Ok(Some(volume(known, device.is_some()))),
                // Deleted, and perhaps made anew, since the row was read?
                Err(error) => match self.row(name)? {
                    Some(same) if same == known => return Err(error),
                    other => row = other,
                },
            }
        }
        Ok(None)
    }

    /// All volumes by name, half-made ones too.
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

    /// Makes the volume's device, read-only if the volume is sealed. A volume that is active already is left as it is.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::Unfinished`] or [`Error::Making`] if there is no complete volume of that name.
    pub fn activate(&self, name: &VolumeName) -> Result<ActiveVolume, Error> {
        let row = self.ready_row(name)?;
        // An error here may come of another volume that has the name by now; under the lock it is one.
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

    /// Removes the volume's device. A volume that is not active is left as it is.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is mounted or open.
    pub fn deactivate(&self, name: &VolumeName) -> Result<(), Error> {
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        self.row(name)?.map_or(Ok(()), |row| self.deactivate_row(&row))
    }

    /// Grows a volume that is not sealed to `size`, rounded up to whole blocks, and returns its size. If it is active its device
    /// grows at once, mounted or not.
    ///
    /// The store's size is the truth: if this process dies before the device has grown, the next activation does it.
    ///
    /// # Errors
    /// [`Error::Sealed`], [`Error::Shrink`], and as [`Pool::activate`].
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

    /// A size that a volume can have.
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

    /// The row of a volume of this very pool: another pool that was made under its name since is another.
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
                Err(Error::Making { volume, pool })
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
