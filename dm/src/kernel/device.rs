//! A dm device, its table and its access, as values.

use std::fmt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use devicemapper::{DeviceInfo, DmFlags};

use super::KernelError;

/// How a device may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and write.
    ReadWrite,
    /// Read-only in device-mapper itself, so that no mount option of a privileged container makes the device writable.
    ReadOnly,
}

impl Access {
    pub(super) fn flags(self) -> DmFlags {
        match self {
            Self::ReadWrite => DmFlags::empty(),
            Self::ReadOnly => DmFlags::DM_READONLY,
        }
    }
}

/// A table with one line, which begins at sector 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) sectors: u64,
    pub(crate) target: &'static str,
    pub(crate) params: String,
}

/// The number of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DevNumber {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl fmt::Display for DevNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A dm device of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) number: DevNumber,
    pub(crate) uuid: String,
    pub(crate) access: Access,
    /// The device has a table in use. If the process that created the device died early, the device has none.
    pub(crate) live: bool,
    pub(crate) suspended: bool,
    /// The kernel removes the device when its last user closes it.
    pub(crate) deferred: bool,
    /// A process, a mount or another device has the device open.
    pub(crate) open: bool,
}

impl Device {
    pub(crate) fn node(&self) -> PathBuf {
        PathBuf::from(format!("/dev/dm-{}", self.number.minor))
    }

    /// Waits until devtmpfs or udev has made the device's node.
    pub(super) fn with_node(self) -> Result<Self, KernelError> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let (path, end) = (self.node(), Instant::now() + PATIENCE);
        while !path.exists() {
            if Instant::now() >= end {
                return Err(KernelError::NoNode { path, seconds: PATIENCE.as_secs() });
            }
            sleep(Duration::from_millis(2));
        }
        Ok(self)
    }
}

impl From<DeviceInfo> for Device {
    fn from(info: DeviceInfo) -> Self {
        let flags = info.flags();
        Self {
            number: DevNumber { major: info.device().major, minor: info.device().minor },
            uuid: info.uuid().map(ToString::to_string).unwrap_or_default(),
            access: if flags.contains(DmFlags::DM_READONLY) {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
            live: flags.contains(DmFlags::DM_ACTIVE_PRESENT),
            suspended: flags.contains(DmFlags::DM_SUSPEND),
            deferred: flags.contains(DmFlags::DM_DEFERRED_REMOVE),
            open: info.open_count() > 0,
        }
    }
}
