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
    pub(crate) fn access(&self) -> Access {
        if self.sealed { Access::ReadOnly } else { Access::ReadWrite }
    }

    /// The volume's table. No other function makes the table of a volume.
    pub(crate) fn table(&self, pool: DevNumber) -> Table {
        let params = format!("{pool} {}", self.id);
        Table { sectors: self.size.sectors(), target: "thin", params }
    }
}

impl Pool {
    /// The volume's device; `None` if the volume is not active.
    ///
    /// # Errors
    /// [`Error::WrongDevice`] if the device belongs to another volume, or is writable though the volume is sealed.
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

    /// Activates the volume if it is not active, resumes it if it is suspended, and makes its device larger if the row is
    /// larger.
    ///
    /// The caller holds the volume's lock and does not hold the pool's lock, which this function takes. The pool's lock keeps
    /// another process from growing the pool meanwhile: while a pool is suspended, the kernel refuses the table of a volume
    /// (EINVAL, "Unable to activate thin device while pool is suspended", `thin_ctr`).
    pub(crate) fn ensure_active(&self, row: &VolumeRow) -> Result<Device, Error> {
        let identity = self.identity_of(row);
        match self.device_of(row)? {
            Some(device) if device.live && device_is_shorter(&device, row) => {
                // The volume is being resized, or a process that resized it has died.
                let _pool_lock = self.lock()?;
                let table = row.table(self.running()?.0.number);
                let (volume, pool) = (row.name.clone(), self.config.name.clone());
                self.kernel
                    .reload(&identity.name, &table, row.access())
                    .map_err(|source| Error::Resize { volume, pool, size: row.size, source })?;
                return Ok(device);
            }
            Some(device) if device.live => {
                // A process died while it took a snapshot of this volume, and left the volume suspended.
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

    /// The error for a volume that cannot be activated. ENODATA means that the pool does not have the thin id (`thin_ctr` in
    /// dm-thin.c).
    pub(crate) fn activation_error(&self, row: &VolumeRow, source: KernelError) -> Error {
        let (volume, id, pool) = (row.name.clone(), row.id, self.config.name.clone());
        match source.errno() {
            Some(Errno::ENODATA) => Error::LostVolume { volume, id, pool, source },
            _ => Error::Activate { volume, id, pool, source },
        }
    }

    /// Removes the volume's device. The caller holds the volume's lock.
    pub(crate) fn deactivate_row(&self, row: &VolumeRow) -> Result<(), Error> {
        self.remove_device(&row.name, &self.identity_of(row))
    }

    /// An [`Error::Busy`] of this function names no users: whoever gets it may do without the device ([`Error::naming_users`]).
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
            let (device, users) = (found.node(), Users::default());
            return Err(Error::Busy { volume, pool, device, users, source });
        }
        Err(Error::Deactivate { volume, pool, source })
    }
}

/// Whether a device is smaller than its volume. The size is read from sysfs: a call of device-mapper takes a lock that all
/// users of device-mapper on the machine share.
pub(crate) fn device_is_shorter(device: &Device, row: &VolumeRow) -> bool {
    if row.sealed {
        return false;
    }
    let sectors = fs::read_to_string(format!("/sys/dev/block/{}/size", device.number))
        .ok()
        .and_then(|text| text.trim_end().parse::<u64>().ok());
    sectors.is_some_and(|sectors| sectors < row.size.sectors())
}
