//! The ioctls of device-mapper, through [`DM`], the ioctl layer of the crate `devicemapper`.
//!
//! This crate does not use `ThinDev` and `ThinPoolDev` of `devicemapper`: when a step fails, they leak a thin id or leave an
//! origin suspended.
//!
//! `devicemapper` waits for udev if `/run/udev/control` exists. Without udevd devtmpfs makes `/dev/dm-N`.

use std::fmt;
use std::path::Path;

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmUuid};
use nix::errno::Errno;

use super::error::failed;
use super::{Access, Device, KernelError, Table};
use crate::failpoint::step;
use crate::names::DmIdentity;

/// The socket of udevd. `devicemapper` waits for udev if and only if this file exists.
const UDEV: &str = "/run/udev/control";
/// The places of the udev rule that ends that wait. It comes with `dmsetup`. The wait has no timeout, so without the rule this
/// crate refuses to work.
const UDEV_RULE: [&str; 3] = [
    "/usr/lib/udev/rules.d/95-dm-notify.rules",
    "/lib/udev/rules.d/95-dm-notify.rules",
    "/etc/udev/rules.d/95-dm-notify.rules",
];

/// An open `/dev/mapper/control`.
pub(crate) struct Kernel(pub(super) DM);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

fn name(text: &str) -> &DmName {
    DmName::new(text).expect("names.rs keeps dm names short and plain")
}

fn uuid(text: &str) -> &DmUuid {
    DmUuid::new(text).expect("names.rs keeps dm uuids short and plain")
}

/// Options that tell udev's rules not to scan the device for file systems, and to make no links in `/dev/disk`.
fn private(flags: DmFlags) -> DmOptions {
    DmOptions::private().set_flags(flags)
}

impl Kernel {
    pub(crate) fn new() -> Result<Self, KernelError> {
        if Path::new(UDEV).exists() && !UDEV_RULE.iter().any(|rule| Path::new(rule).exists()) {
            return Err(KernelError::UdevRule);
        }
        DM::new().map(Self).map_err(|error| KernelError::Control { cause: Box::new(error) })
    }

    /// The device called `device`; `None` if there is no such device.
    pub(crate) fn find(&self, device: &str) -> Result<Option<Device>, KernelError> {
        match self.0.device_info(&DevId::Name(name(device))).map_err(failed("info", device)) {
            Ok(info) => Ok(Some(info.into())),
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The name and the device that has this uuid; `None` if there is no such device.
    pub(crate) fn find_uuid(&self, id: &str) -> Result<Option<(String, Device)>, KernelError> {
        match self.0.device_info(&DevId::Uuid(uuid(id))).map_err(failed("info", id)) {
            Ok(info) => {
                let name = info.name().map(ToString::to_string).unwrap_or_default();
                Ok(Some((name, info.into())))
            }
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a device another name. The device may be in use.
    pub(crate) fn rename(&self, device: &str, to: &str) -> Result<(), KernelError> {
        self.0
            .device_rename(name(device), &DevId::Name(name(to)))
            .map(drop)
            .map_err(failed("rename", device))
    }

    /// Every dm device's name.
    pub(crate) fn names(&self) -> Result<Vec<String>, KernelError> {
        let list = self.0.list_devices().map_err(failed("ls", ""))?;
        Ok(list.into_iter().map(|(name, _, _)| name.to_string()).collect())
    }

    /// Creates a device with one table line and resumes it. When a step fails, the device is removed again.
    pub(crate) fn create(
        &self,
        identity: &DmIdentity,
        table: &Table,
        access: Access,
    ) -> Result<Device, KernelError> {
        let flags = private(access.flags());
        self.0
            .device_create(name(&identity.name), Some(uuid(&identity.uuid)), flags)
            .map_err(failed("create", &identity.name))?;
        step("device created");

        let started = self
            .load(&identity.name, table, access)
            .inspect(|()| step("table loaded"))
            .and_then(|()| self.resume(&identity.name))
            .inspect(|_| step("device started"))
            .and_then(Device::with_node);
        if started.is_err()
            && let Err(error) = self.remove(&identity.name)
        {
            tracing::warn!(device = identity.name, %error, "cannot remove a dm device that could not be activated; remove it with `dmsetup remove`");
        }
        started
    }

    /// Loads a table, which a resume puts into use.
    fn load(&self, device: &str, table: &Table, access: Access) -> Result<(), KernelError> {
        let lines = [(0, table.sectors, table.target.to_owned(), table.params.clone())];
        let loaded = self.0.table_load(&DevId::Name(name(device)), &lines, private(access.flags()));
        loaded.map(drop).map_err(failed("load", device))
    }

    /// Gives an active device another table, such as a longer one. The kernel exchanges the tables in one step. So if this
    /// process dies before that step, the old table stays in use.
    pub(crate) fn reload(
        &self,
        device: &str,
        table: &Table,
        access: Access,
    ) -> Result<(), KernelError> {
        self.load(device, table, access)?;
        step("new table loaded");
        self.resume(device)?;
        step("new table in use");
        Ok(())
    }

    /// Gives an active device another table without its file system and without the old table's help: the file system is not
    /// frozen, and requests that wait go to the new table (DM_SKIP_LOCKFS_FLAG and DM_NOFLUSH_FLAG in dm-ioctl.h). So this
    /// returns also where the file system is frozen already, or where the pool answers no request. The kernel suspends the
    /// device, exchanges the tables and resumes the device in one call (`do_resume`).
    pub(crate) fn replace(
        &self,
        device: &str,
        table: &Table,
        access: Access,
    ) -> Result<(), KernelError> {
        self.load(device, table, access)?;
        step("other table loaded");
        let how = private(DmFlags::DM_NOFLUSH | DmFlags::DM_SKIP_LOCKFS);
        let id = DevId::Name(name(device));
        self.0.device_suspend(&id, how).map_err(failed("resume", device))?;
        step("other table in use");
        Ok(())
    }

    /// Removes a device. Returns `false` if there was no such device. While the device is open, `devicemapper` tries for 0.8 s.
    pub(crate) fn remove(&self, device: &str) -> Result<bool, KernelError> {
        self.remove_by(&DevId::Name(name(device)), device)
    }

    /// As [`remove`](Self::remove), but removes the device that has the uuid of the identity, whatever its name is.
    pub(crate) fn remove_uuid(&self, identity: &DmIdentity) -> Result<bool, KernelError> {
        self.remove_by(&DevId::Uuid(uuid(&identity.uuid)), &identity.name)
    }

    fn remove_by(&self, id: &DevId<'_>, device: &str) -> Result<bool, KernelError> {
        let removed = self.0.device_remove(id, private(DmFlags::empty()));
        match removed.map_err(failed("remove", device)) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a device at once if nobody has it open. If the device is open, the kernel removes it when its last user closes
    /// it, also after this process has ended. Returns `true` if the device is removed already.
    pub(crate) fn remove_when_idle(&self, identity: &DmIdentity) -> Result<bool, KernelError> {
        let how = private(DmFlags::DM_DEFERRED_REMOVE);
        let removed = self.0.device_remove(&DevId::Uuid(uuid(&identity.uuid)), how);
        match removed.map_err(failed("remove", &identity.name)) {
            Ok(info) => Ok(!info.flags().contains(DmFlags::DM_DEFERRED_REMOVE)),
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Suspends a device: freezes its file system, waits for its I/O, and holds new I/O back until the guard resumes it.
    pub(crate) fn suspend<'k>(&'k self, device: &str) -> Result<Suspended<'k>, KernelError> {
        let id = DevId::Name(name(device));
        self.0
            .device_suspend(&id, private(DmFlags::DM_SUSPEND))
            .map_err(failed("suspend", device))?;
        Ok(Suspended { kernel: self, device: device.to_owned(), resumed: false })
    }

    pub(crate) fn resume(&self, device: &str) -> Result<Device, KernelError> {
        let id = DevId::Name(name(device));
        self.0
            .device_suspend(&id, private(DmFlags::empty()))
            .map(Device::from)
            .map_err(failed("resume", device))
    }

    /// Sends a message to the target of the device that has the uuid of the identity, so that another pool with the same name
    /// gets no message. After each message a thin pool commits its metadata.
    pub(crate) fn message(&self, identity: &DmIdentity, text: &str) -> Result<(), KernelError> {
        self.0
            .target_msg(&DevId::Uuid(uuid(&identity.uuid)), None, text)
            .map(drop)
            .map_err(failed("message", &identity.name))
    }

    /// Makes a thin pool commit its metadata to the disk. A status call without `DM_NOFLUSH` does that (`pool_status` in
    /// dm-thin.c).
    pub(crate) fn commit(&self, pool: &str) -> Result<(), KernelError> {
        self.status_with(pool, DmFlags::empty()).map(drop)
    }

    /// A device and the status line of its only target. `DM_NOFLUSH` spares the metadata commit.
    pub(crate) fn status(&self, device: &str) -> Result<(Device, String), KernelError> {
        self.status_with(device, DmFlags::DM_NOFLUSH)
    }

    fn status_with(&self, device: &str, flags: DmFlags) -> Result<(Device, String), KernelError> {
        let id = DevId::Name(name(device));
        let (info, lines) =
            self.0.table_status(&id, private(flags)).map_err(failed("status", device))?;
        let line = lines.into_iter().next().map(|(_, _, _, line)| line);
        Ok((info.into(), line.unwrap_or_default()))
    }

    /// The target type and the parameters of a device's only table line.
    pub(crate) fn table(&self, device: &str) -> Result<(String, String), KernelError> {
        let id = DevId::Name(name(device));
        let (_, lines) = self
            .0
            .table_status(&id, private(DmFlags::DM_STATUS_TABLE))
            .map_err(failed("table", device))?;
        let line = lines.into_iter().next();
        Ok(line.map(|(_, _, target, params)| (target, params)).unwrap_or_default())
    }
}

/// A suspended device. Dropping it resumes the device; [`Suspended::resume`] also returns the error.
#[must_use]
pub(crate) struct Suspended<'k> {
    kernel: &'k Kernel,
    device: String,
    resumed: bool,
}

impl Suspended<'_> {
    pub(crate) fn resume(mut self) -> Result<(), KernelError> {
        self.resumed = true;
        self.kernel.resume(&self.device).map(drop)
    }
}

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        if self.resumed {
            return;
        }
        if let Err(error) = self.kernel.resume(&self.device) {
            tracing::error!(device = self.device, %error, "cannot resume the device; run `dmsetup resume {}`", self.device);
        }
    }
}
