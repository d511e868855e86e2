//! A volume's device: found, created, resumed, removed.

use std::fs;

use nix::errno::Errno;
use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::kernel::{Access, DevNumber, Device, KernelError, Table};
use crate::names::DmIdentity;
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::users::Users;

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
    /// The volume's device, if the kernel has it and it is this volume with the right access.
    pub(crate) fn device_of(&self, row: &VolumeRow) -> Result<Option<Device>, Error> {
        let identity = self.identity_of(row);
        let found = self.find_device(&row.name, &identity.name)?;
        // A sealed volume that is being deleted is writable for the discard.
        let read_only = row.sealed && row.phase == Phase::Ready;
        if found.as_ref().is_some_and(|d| {
            d.uuid != identity.uuid || (d.live && read_only && d.access == Access::ReadWrite)
        }) {
            return Err(Error::WrongDevice { volume: row.name.clone(), device: identity.name });
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
    pub(crate) fn ensure_active(&self, row: &VolumeRow) -> Result<Device, Error> {
        let identity = self.identity_of(row);
        match self.device_of(row)? {
            Some(device) if device.live && device_is_shorter(&device, row) => {
                // A resize, now or by a process that died.
                let _pool_lock = self.lock()?;
                let table = row.table(self.running()?.0.number);
                let (volume, pool) = (row.name.clone(), self.config.name.clone());
                self.kernel
                    .reload(&identity.name, &table, row.access())
                    .map_err(|source| Error::Resize { volume, pool, size: row.size, source })?;
                return Ok(device);
            }
            Some(device) if device.live => {
                // A maker of a snapshot died while it held this origin.
                if device.suspended {
                    self.kernel
                        .resume(&identity.name)
                        .map_err(|source| self.activation_error(row, source))?;
                }
                return Ok(device);
            }
            Some(_) => {
                self.kernel
                    .remove_uuid(&identity)
                    .map_err(|source| self.activation_error(row, source))?;
            }
            None => {}
        }
        let _pool_lock = self.lock()?;
        let table = row.table(self.running()?.0.number);
        let created = self.kernel.create(&identity, &table, row.access());
        created.map_err(|source| self.activation_error(row, source))
    }

    /// Why a volume's device does not run.
    pub(crate) fn activation_error(&self, row: &VolumeRow, source: KernelError) -> Error {
        let (volume, id, pool) = (row.name.clone(), row.id, self.config.name.clone());
        match source.errno() {
            Some(Errno::ENODATA) => Error::LostVolume { volume, id, pool, source },
            _ => Error::Activate { volume, id, pool, source },
        }
    }

    /// The caller holds the volume's lock.
    pub(crate) fn deactivate_row(&self, row: &VolumeRow) -> Result<(), Error> {
        self.remove_device(&row.name, &self.identity_of(row))
    }

    pub(crate) fn remove_device(
        &self,
        volume: &VolumeName,
        identity: &DmIdentity,
    ) -> Result<(), Error> {
        let Err(source) = self.kernel.remove_uuid(identity) else { return Ok(()) };
        let (volume, pool) = (volume.clone(), self.config.name.clone());
        if source.errno() == Some(Errno::EBUSY)
            && let Ok(Some((_, found))) = self.kernel.find_uuid(&identity.uuid)
        {
            let users = Users::of(found.number);
            return Err(Error::Busy { volume, pool, device: found.node(), users, source });
        }
        Err(Error::Deactivate { volume, pool, source })
    }
}

/// Whether a device has less than its volume. Read from sysfs: a call of device-mapper's would take a lock that every user of
/// device-mapper on the machine shares.
pub(crate) fn device_is_shorter(device: &Device, row: &VolumeRow) -> bool {
    if row.sealed {
        return false;
    }
    let sectors = fs::read_to_string(format!("/sys/dev/block/{}/size", device.number))
        .ok()
        .and_then(|text| text.trim_end().parse::<u64>().ok());
    sectors.is_some_and(|sectors| sectors < row.size.sectors())
}
