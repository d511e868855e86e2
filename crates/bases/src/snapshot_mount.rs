//! Detached mounts of a snapshot's file system.

use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_sys::mount::{self, Access, Detached, Setting};

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::note::Note;
use crate::room::{make_room_for_replay, needs_replay};

/// Mounts the file system of a snapshot, detached.
pub(super) fn detached_snapshot(
    device: &Path,
    label: Option<&str>,
) -> Result<Detached, RootfsError> {
    // The inode tables of a base are never initialised later, so that an idle snapshot writes almost nothing. The kernel's
    // default is to read the maps of all block groups ahead, 12 KiB for each group; this is off to save memory.
    mount_snapshot(
        device,
        label,
        Access::ReadWrite,
        &["noinit_itable", "no_prefetch_block_bitmaps"],
    )
}

impl Bases {
    /// Records durably that the next mount of a snapshot replays its journal. To be called before [`Self::kept_snapshot`] and
    /// [`Self::ended_snapshot`].
    ///
    /// A snapshot that is still mounted looks the same. Then the write-back compares more than it must.
    pub(super) fn note_replay(
        &self,
        volume: &VolumeName,
        device: &Path,
        note: &mut Note,
    ) -> Result<(), RootfsError> {
        if !note.replayed && needs_replay(device)? {
            note.replayed = true;
            self.notes().write(volume, note)?;
        }
        Ok(())
    }

    /// Mounts the snapshot of a container that has ended and starts again on it.
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

    /// Mounts the snapshot of a container that has ended, for reading.
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
