//! The only file that speaks to device-mapper, through the crate's plain ioctl layer [`DM`].
//!
//! Not through its `ThinDev` and `ThinPoolDev`: they leak an id or leave an origin suspended when a step fails.
//!
//! Without udevd the crate does not wait for udev (it looks for `/run/udev/control`), and devtmpfs makes `/dev/dm-N`.

use std::fmt;
use std::path::Path;

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmUuid};
use nix::errno::Errno;

use super::error::failed;
use super::{Access, Device, KernelError, Table};
use crate::failpoint::step;
use crate::names::DmIdentity;

/// Where udevd listens; the crate waits for udev if and only if it is there.
const UDEV: &str = "/run/udev/control";
/// The rule that ends the crate's wait, from the package that has `dmsetup`. The wait has no timeout, so it is looked for.
const UDEV_RULE: [&str; 3] = [
    "/usr/lib/udev/rules.d/95-dm-notify.rules",
    "/lib/udev/rules.d/95-dm-notify.rules",
    "/etc/udev/rules.d/95-dm-notify.rules",
];

/// The way to the kernel.
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

/// Tells udev's rules that the device is ours alone: no scan for file systems, no links in `/dev/disk`.
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

    /// The device called `device`, or none.
    pub(crate) fn find(&self, device: &str) -> Result<Option<Device>, KernelError> {
        match self.0.device_info(&DevId::Name(name(device))).map_err(failed("info", device)) {
            Ok(info) => Ok(Some(info.into())),
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The device that has this uuid, and its name, or none.
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

    /// Gives a device another name; it may be in use.
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

    /// Makes a device with one table and starts it. When a step fails nothing is left.
    pub(crate) fn create(
        &self,
        identity: &DmIdentity,
        table: &Table,
        access: Access,
    ) -> Result<Device, KernelError> {
        let flags = access.flags();
        let id = DevId::Name(name(&identity.name));
        self.0
            .device_create(name(&identity.name), Some(uuid(&identity.uuid)), private(flags))
            .map_err(failed("create", &identity.name))?;
        step("device created");

        let lines = [(0, table.sectors, table.target.to_owned(), table.params.clone())];
        let started = self
            .0
            .table_load(&id, &lines, private(flags))
            .map_err(failed("load", &identity.name))
            .inspect(|_| step("table loaded"))
            .and_then(|_| self.resume(&identity.name))
            .inspect(|_| step("device started"))
            .and_then(Device::with_node);
        if started.is_err()
            && let Err(error) = self.remove(&identity.name)
        {
            tracing::warn!(device = identity.name, %error, "a dm device that could not be started stays behind");
        }
        started
    }

    /// Gives a running device another table, such as a longer one. The kernel swaps the two in one step, so a process that
    /// dies in between leaves the old table in use.
    pub(crate) fn reload(
        &self,
        device: &str,
        table: &Table,
        access: Access,
    ) -> Result<(), KernelError> {
        let id = DevId::Name(name(device));
        let lines = [(0, table.sectors, table.target.to_owned(), table.params.clone())];
        self.0.table_load(&id, &lines, private(access.flags())).map_err(failed("load", device))?;
        step("new table loaded");
        self.resume(device)?;
        step("new table in use");
        Ok(())
    }

    /// Removes a device; `false` if there was none. The crate tries for 0.8 s while somebody has it open.
    pub(crate) fn remove(&self, device: &str) -> Result<bool, KernelError> {
        self.remove_by(&DevId::Name(name(device)), device)
    }

    /// As [`remove`](Self::remove), but only the device that has the uuid of the identity, whatever its name.
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

    /// Removes a device at once if nobody has it open, and else when its last user is gone, whether this process still lives
    /// then or not. Returns whether it is gone already.
    pub(crate) fn remove_when_idle(&self, identity: &DmIdentity) -> Result<bool, KernelError> {
        let how = private(DmFlags::DM_DEFERRED_REMOVE);
        let removed = self.0.device_remove(&DevId::Uuid(uuid(&identity.uuid)), how);
        match removed.map_err(failed("remove", &identity.name)) {
            Ok(info) => Ok(!info.flags().contains(DmFlags::DM_DEFERRED_REMOVE)),
            Err(error) if error.errno() == Some(Errno::ENXIO) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for the device's I/O, freezes its file system and holds new I/O back until the guard resumes it.
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

    /// Sends a message to the target of the device that has the uuid of the identity: another pool of its name gets none. Every message
    /// of a thin pool ends in a metadata commit.
    pub(crate) fn message(&self, identity: &DmIdentity, text: &str) -> Result<(), KernelError> {
        self.0
            .target_msg(&DevId::Uuid(uuid(&identity.uuid)), None, text)
            .map(drop)
            .map_err(failed("message", &identity.name))
    }

    /// Brings a thin pool's metadata to the disk: what a plain status does before it answers (`pool_status` in dm-thin.c).
    pub(crate) fn commit(&self, pool: &str) -> Result<(), KernelError> {
        self.status_with(pool, DmFlags::empty()).map(drop)
    }

    /// A device and the status line of its only target, without the metadata commit that a plain status makes.
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

    /// The target and the parameters of a device's only table line.
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

/// A suspended device. Dropping it resumes; [`Suspended::resume`] also says whether that worked.
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
            tracing::error!(device = self.device, %error, "the device stays suspended; run `dmsetup resume {}`", self.device);
        }
    }
}
