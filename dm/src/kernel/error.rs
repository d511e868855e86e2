//! A device-mapper call that failed.

use std::path::PathBuf;

use devicemapper::{DmError, errors};
use nix::errno::Errno;

/// A device-mapper call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// `/dev/mapper/control` cannot be opened.
    #[error("no device-mapper: {cause}; run as root, and load the module (modprobe dm-thin-pool)")]
    Control {
        /// The crate's error.
        cause: Box<DmError>,
    },
    /// udevd runs without the rule that ends the wait for it.
    #[error(
        "cannot wait for udev: udevd runs without the rules of device-mapper (95-dm-notify.rules); install the package that has dmsetup"
    )]
    UdevRule,
    /// The kernel refused a call.
    #[error("{call} {device}: {errno}")]
    Refused {
        /// The call, as dmsetup names it.
        call: &'static str,
        /// The dm device's name.
        device: String,
        /// The kernel's error number.
        errno: Errno,
    },
    /// The crate `devicemapper` failed before or after the call.
    #[error("{call} {device}: {cause}")]
    Library {
        /// The call, as dmsetup names it.
        call: &'static str,
        /// The dm device's name.
        device: String,
        /// The crate's error.
        cause: Box<DmError>,
    },
    /// The device's node did not appear in `/dev`.
    #[error("{} did not appear within {seconds} s; is a devtmpfs mounted on /dev?", path.display())]
    NoNode {
        /// The node.
        path: PathBuf,
        /// How long this crate waited for the node, in seconds.
        seconds: u64,
    },
}

impl KernelError {
    /// The kernel's error number; `None` if the kernel did not refuse the call.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

pub(super) fn failed(call: &'static str, device: &str) -> impl FnOnce(DmError) -> KernelError {
    let device = device.to_owned();
    move |error| match error {
        DmError::Core(errors::Error::Ioctl(_, _, _, errno)) => {
            KernelError::Refused { call, device, errno: *errno }
        }
        cause => KernelError::Library { call, device, cause: Box::new(cause) },
    }
}
