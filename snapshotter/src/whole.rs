//! Committed volumes that a power cut may have cut short.
//!
//! `Commit` changes a row and waits for no disk, because containerd waits for it with its whole database locked; the volume is
//! flushed and sealed later. A power cut in between leaves a row that is durable and files that are not. Images are unpacked
//! without a journal, so such a file system may contradict itself.
//!
//! A volume that this process made was not through a power cut, and is flushed when it is sealed. Any other volume that is not
//! sealed yet is checked before it is sealed, and before anything is made of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sharedroot_dm::{Pool, VolumeName};
use sharedroot_format::base::JOURNAL_BLOCKS;
use sharedroot_image::{MakeError, check_filesystem, needs_replay};
use sharedroot_sys::mount::{self, Access, MountError, Setting};

use crate::error::{Error, NotWhole};
use crate::table::RowId;

/// The rows whose volumes this process made, until they are sealed or deleted.
#[derive(Debug, Default)]
pub struct Made(Mutex<BTreeSet<RowId>>);

impl Made {
    /// Notes a new volume.
    pub fn add(&self, id: RowId) {
        self.rows().insert(id);
    }

    /// Whether this process made the volume.
    pub fn has(&self, id: RowId) -> bool {
        self.rows().contains(&id)
    }

    /// The volume is sealed or deleted.
    pub fn forget(&self, id: RowId) {
        self.rows().remove(&id);
    }

    fn rows(&self) -> MutexGuard<'_, BTreeSet<RowId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a volume that nobody uses: replays its journal if that is necessary, and has e2fsck read all of its metadata. For a
/// volume `known` to be whole only the journal counts: the kernel keeps it after an error, such as a full pool.
///
/// # Errors
/// [`Error::NotWhole`]; other errors say nothing about the volume.
pub fn check(pool: &Pool, volume: &VolumeName, known: bool) -> Result<(), Error> {
    let device = pool.activate(volume)?.device;
    let read = |source| Error::Superblock { volume: volume.clone(), source };
    let dirty = needs_replay(&device).map_err(read)?;
    if known && !dirty {
        return Ok(());
    }
    let broken = |source: NotWhole| {
        // Nobody may use it, so it need not be active.
        let _ = pool.deactivate(volume);
        Error::NotWhole { snapshot: volume.to_string(), source }
    };
    if dirty {
        pool.make_room_for_blocks(JOURNAL_BLOCKS)?;
        replay(&device).map_err(|error| broken(error.into()))?;
    }
    check_filesystem(&device).map_err(|error| match error {
        MakeError::Tool { .. } => broken(NotWhole::Check(error)),
        source => Error::Check { volume: volume.clone(), source },
    })
}

/// A writable mount replays the journal, and its end writes everything.
fn replay(device: &Path) -> Result<(), MountError> {
    let options = [Setting::Flag("noinit_itable")];
    mount::block_device("ext4", device, Access::ReadWrite, &options).map(drop)
}
