//! Volumes of a pool: looked up, activated, grown, deactivated.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::{Access, DevNumber, Device, KernelError, Table};
use crate::lock::Lock;
use crate::names::{DmLabel, ThinId};
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::units::Bytes;
use crate::users::Users;

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

impl Volume {
    /// Whether it is complete: its maker has kept or sealed it, and nobody deletes it.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }
}

impl VolumeRow {
    fn access(&self) -> Access {
        if self.sealed { Access::ReadOnly } else { Access::ReadWrite }
    }

    /// The volume's table. What a volume consists of is said here and nowhere else.
    pub(crate) fn table(&self, pool: DevNumber) -> Table {
        let params = format!("{pool} {}", self.id);
        Table { sectors: self.size.sectors(), target: "thin", params }
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

    /// The volume if it is complete, or none.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn ready(&self, name: &VolumeName) -> Result<Option<Volume>, Error> {
        Ok(self.volume(name)?.filter(Volume::is_ready))
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
            && !is_short(&device, &row)
        {
            return Ok(ActiveVolume::from(&device));
        }
        let (_lock, row) = self.locked(name)?;
        Ok(ActiveVolume::from(&self.start(&row)?))
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
            self.start(&row)?;
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
        self.store.volume(&self.config.name, &self.label.uuid, name)
    }

    pub(crate) fn label_of(&self, row: &VolumeRow) -> DmLabel {
        DmLabel::volume(&self.config.name, &self.label.uuid, &row.name, row.id)
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
    pub(crate) fn device_of(&self, row: &VolumeRow) -> Result<Option<Device>, Error> {
        let label = self.label_of(row);
        let found = self.find_device(&row.name, &label.name)?;
        // A sealed volume that is being deleted is writable for the discard.
        let read_only = row.sealed && row.phase == Phase::Ready;
        if found.as_ref().is_some_and(|d| {
            d.uuid != label.uuid || (d.live && read_only && d.access == Access::ReadWrite)
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

    /// Makes sure that the volume's device runs. The caller holds the volume's lock, and not the pool's: whoever grows the pool
    /// holds that one, and while a pool is suspended the kernel takes no table of a volume (EINVAL, "Unable to activate thin
    /// device while pool is suspended", `thin_ctr`).
    pub(crate) fn start(&self, row: &VolumeRow) -> Result<Device, Error> {
        let label = self.label_of(row);
        match self.device_of(row)? {
            Some(device) if device.live && is_short(&device, row) => {
                // A resize, now or by a process that died.
                let _turn = self.lock()?;
                let table = row.table(self.running()?.0.number);
                let (volume, pool) = (row.name.clone(), self.config.name.clone());
                self.kernel
                    .reload(&label.name, &table, row.access())
                    .map_err(|source| Error::Resize { volume, pool, size: row.size, source })?;
                return Ok(device);
            }
            Some(device) if device.live => {
                // A maker of a snapshot died while it held this origin.
                if device.suspended {
                    self.kernel.resume(&label.name).map_err(|source| self.inactive(row, source))?;
                }
                return Ok(device);
            }
            Some(_) => {
                self.kernel.remove_uuid(&label).map_err(|source| self.inactive(row, source))?;
            }
            None => {}
        }
        let _turn = self.lock()?;
        let table = row.table(self.running()?.0.number);
        let created = self.kernel.create(&label, &table, row.access());
        created.map_err(|source| self.inactive(row, source))
    }

    /// Why a volume's device does not run.
    pub(crate) fn inactive(&self, row: &VolumeRow, source: KernelError) -> Error {
        let (volume, id, pool) = (row.name.clone(), row.id, self.config.name.clone());
        match source.errno() {
            Some(Errno::ENODATA) => Error::LostVolume { volume, id, pool, source },
            _ => Error::Activate { volume, id, pool, source },
        }
    }

    /// The caller holds the volume's lock.
    pub(crate) fn deactivate_row(&self, row: &VolumeRow) -> Result<(), Error> {
        self.remove_device(&row.name, &self.label_of(row))
    }

    pub(crate) fn remove_device(&self, volume: &VolumeName, label: &DmLabel) -> Result<(), Error> {
        let Err(source) = self.kernel.remove_uuid(label) else { return Ok(()) };
        let (volume, pool) = (volume.clone(), self.config.name.clone());
        if source.errno() == Some(Errno::EBUSY)
            && let Ok(Some((_, found))) = self.kernel.find_uuid(&label.uuid)
        {
            let users = Users::of(found.number);
            return Err(Error::Busy { volume, pool, device: found.node(), users, source });
        }
        Err(Error::Deactivate { volume, pool, source })
    }
}

/// Whether a device has less than its volume. Read from sysfs: a call of device-mapper's would take a lock that every user of
/// device-mapper on the machine shares.
fn is_short(device: &Device, row: &VolumeRow) -> bool {
    if row.sealed {
        return false;
    }
    let sectors = fs::read_to_string(format!("/sys/dev/block/{}/size", device.number))
        .ok()
        .and_then(|text| text.trim_end().parse::<u64>().ok());
    sectors.is_some_and(|sectors| sectors < row.size.sectors())
}

fn volume(row: VolumeRow, active: bool) -> Volume {
    let VolumeRow { name, id, size, origin, phase, sealed, .. } = row;
    Volume { name, id, size, origin, phase, sealed, active }
}
