//! Volumes of a pool: looked up, activated, deactivated, deleted.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::error::Error;
use crate::kernel::{Access, Device, KernelError, Table};
use crate::lock::Lock;
use crate::names::{DmLabel, ThinId, VolumeName};
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::units::Bytes;

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

/// What [`Pool::delete`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The volume was there and is gone.
    Deleted,
    /// There was no such volume.
    NotThere,
}

impl VolumeRow {
    fn access(&self) -> Access {
        if self.sealed { Access::ReadOnly } else { Access::ReadWrite }
    }
}

impl Pool {
    /// The volume, or none.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        let Some(row) = self.row(name)? else { return Ok(None) };
        let active = self.device_of(&row)?.is_some();
        Ok(Some(volume(row, active)))
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
                let active = names.contains(&DmLabel::volume(pool, &row.name, row.id).name);
                volume(row, active)
            })
            .collect())
    }

    /// Makes the volume's device, read-only if the volume is sealed. A volume that is active already is left as it is.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::Unfinished`] or [`Error::Making`] if there is no complete volume of that name.
    pub fn activate(&self, name: &VolumeName) -> Result<ActiveVolume, Error> {
        if let Some(device) = self
            .device_of(&self.ready_row(name)?)?
            .filter(|device| device.live && !device.suspended)
        {
            return Ok(ActiveVolume::from(&device));
        }
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        // Again under the lock: the volume may have been deleted and another made under its name.
        let device = self.start(&self.ready_row(name)?)?;
        Ok(ActiveVolume::from(&device))
    }

    /// Removes the volume's device. A volume that is not active is left as it is.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is mounted or open.
    pub fn deactivate(&self, name: &VolumeName) -> Result<(), Error> {
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        self.deactivate_row(name)
    }

    /// Deactivates the volume and deletes it from pool and store. Snapshots of it stay whole: they share its blocks, they do
    /// not read through it.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is mounted or open; then nothing has changed.
    pub fn delete(&self, name: &VolumeName) -> Result<Deleted, Error> {
        if self.row(name)?.is_none() {
            return Ok(Deleted::NotThere);
        }
        let lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        let deleted = match self.row(name)? {
            Some(row) => self.erase(&row).map(|()| Deleted::Deleted)?,
            None => Deleted::NotThere,
        };
        lock.forget();
        Ok(deleted)
    }

    pub(crate) fn row(&self, name: &VolumeName) -> Result<Option<VolumeRow>, Error> {
        self.store.volume(&self.config.name, name)
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

    /// The volume's device, if the kernel has it and it is this volume with the right access.
    fn device_of(&self, row: &VolumeRow) -> Result<Option<Device>, Error> {
        let label = DmLabel::volume(&self.config.name, &row.name, row.id);
        let found = self.find_device(&row.name, &label.name)?;
        if found.as_ref().is_some_and(|d| {
            d.uuid != label.uuid || (d.live && row.sealed && d.access == Access::ReadWrite)
        }) {
            return Err(Error::WrongDevice { volume: row.name.clone(), device: label.name });
        }
        Ok(found)
    }

    pub(crate) fn find_device(
        &self,
        volume: &VolumeName,
        device: &str,
    ) -> Result<Option<Device>, Error> {
        self.kernel.find(device).map_err(|source| {
            let pool = self.config.name.clone();
            Error::Find { volume: volume.clone(), pool, source }
        })
    }

    /// Makes sure that the volume's device runs. The caller holds the volume's lock.
    pub(crate) fn start(&self, row: &VolumeRow) -> Result<Device, Error> {
        let label = DmLabel::volume(&self.config.name, &row.name, row.id);
        let failed = |source| {
            let (volume, pool) = (row.name.clone(), self.config.name.clone());
            Error::Activate { volume, id: row.id, pool, source }
        };
        match self.device_of(row)? {
            Some(device) if device.live && device.suspended => {
                // A maker of a snapshot died while it held this origin.
                self.kernel.resume(&label.name).map_err(failed)?;
                return Ok(device);
            }
            Some(device) if device.live => return Ok(device),
            Some(_) => drop(self.kernel.remove(&label.name).map_err(failed)?),
            None => {}
        }
        let pool = self.find()?.ok_or_else(|| {
            failed(KernelError::Refused {
                call: "info",
                device: self.label.name.clone(),
                errno: Errno::ENXIO,
            })
        })?;
        let table = Table {
            sectors: row.size.sectors(),
            target: "thin",
            params: format!("{} {}", pool.number, row.id),
        };
        self.kernel.create(&label, &table, row.access()).map_err(failed)
    }

    /// The caller holds the volume's lock, or the pool is going down.
    pub(crate) fn deactivate_row(&self, name: &VolumeName) -> Result<(), Error> {
        // The name alone decides, whatever thin id a stale device of it has.
        let device = DmLabel::volume(&self.config.name, name, ThinId::MAX).name;
        let Some(found) = self.find_device(name, &device)? else { return Ok(()) };
        match self.kernel.remove(&device) {
            Ok(_) => Ok(()),
            Err(source) => {
                let (volume, pool) = (name.clone(), self.config.name.clone());
                Err(match source.errno() {
                    Some(Errno::EBUSY) => {
                        Error::Busy { volume, pool, device: found.node(), source }
                    }
                    _ => Error::Deactivate { volume, pool, source },
                })
            }
        }
    }

    /// Deactivates and deletes a volume in whatever phase it is. The caller holds the volume's lock.
    pub(crate) fn erase(&self, row: &VolumeRow) -> Result<(), Error> {
        let (pool, name) = (&self.config.name, &row.name);
        self.deactivate_row(name)?;
        let lock = self.lock()?;
        let (intent, ()) =
            self.intend(&lock, false, |w| w.set_phase(pool, name, Phase::Deleting, row.sealed))?;
        match self.act(intent, &format!("delete {}", row.id))? {
            Ok(()) => {}
            // An earlier attempt came as far as here, or its maker died before the pool made it.
            Err(error) if error.errno() == Some(Errno::ENODATA) => {}
            Err(source) => {
                return Err(Error::Delete {
                    volume: name.clone(),
                    id: row.id,
                    pool: pool.clone(),
                    source,
                });
            }
        }
        self.store.write(|w| w.drop_volume(pool, name))
    }
}

fn volume(row: VolumeRow, active: bool) -> Volume {
    let VolumeRow { name, id, size, origin, phase, sealed } = row;
    Volume { name, id, size, origin, phase, sealed, active }
}
