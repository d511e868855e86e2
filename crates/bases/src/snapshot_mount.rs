//! The file system of a snapshot, mounted nowhere.

use std::path::Path;

use sharedroot_sys::mount::{self, Access, Detached, Setting};

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::room::{make_room_for_replay, needs_replay};

/// The file system of a snapshot, mounted nowhere.
pub(super) fn detached_snapshot(
    device: &Path,
    label: Option<&str>,
) -> Result<Detached, RootfsError> {
    // An idle snapshot writes almost nothing, for the inode tables of a base are never initialised, and keeps little in memory:
    // by itself the kernel reads the maps of all block groups ahead, 12 KiB each.
    mount_snapshot(
        device,
        label,
        Access::ReadWrite,
        &["noinit_itable", "no_prefetch_block_bitmaps"],
    )
}

impl Bases {
    /// The same of a container that has ended and starts again on it.
    pub(super) fn kept_snapshot(
        &self,
        device: &Path,
        label: Option<&str>,
    ) -> Result<Detached, RootfsError> {
        if needs_replay(device)? {
            make_room_for_replay(self.pool()?)?;
        }
        detached_snapshot(device, label)
    }

    /// The same of a container that has ended, to be read.
    pub(super) fn ended_snapshot(
        &self,
        device: &Path,
        label: Option<&str>,
    ) -> Result<Detached, RootfsError> {
        if !needs_replay(device)? {
            return mount_snapshot(device, label, Access::ReadOnly, &["noload"]);
        }
        make_room_for_replay(self.pool()?)?;
        detached_snapshot(device, label)
    }
}

fn mount_snapshot(
    device: &Path,
    label: Option<&str>,
    access: Access,
    flags: &[&'static str],
) -> Result<Detached, RootfsError> {
    let mut options: Vec<_> = flags.iter().map(|flag| Setting::Flag(flag)).collect();
    options.extend(label.map(|label| Setting::Value("context", label)));
    Ok(mount::block_device("ext4", device, access, &options)?)
}
