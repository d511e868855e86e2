//! What a private rootfs changed goes back to the engine, before the snapshot goes.
//!
//! The engine's overlay lies below our mount. It is written through its own mount, so that whiteouts
//! and opaque directories are the kernel's affair, and by one process at a time.

use std::fs::File;
use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_image as image;
use sharedroot_label::MountLabel;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Detached};

use crate::bases::Bases;
use crate::changes::Tally;
use crate::error::{RootfsError, file};
use crate::exchange::Exchange;
use crate::note::Note;
use crate::notice::take_notice;

/// What is known to be a container's, if it is mounted.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Its snapshot. What a full pool did not take can still be read here, and nowhere else.
    pub snapshot: Option<Detached>,
    /// Its engine's overlay.
    pub overlay: Option<Detached>,
}

/// What became of a snapshot's changes.
#[derive(Debug)]
pub(super) enum Changes {
    /// The engine has them, or wants none.
    Saved(Tally),
    /// The engine got what its overlay can hold at an earlier attempt; so many files are in the snapshot only.
    Partly(u64),
    /// The engine's overlay is not there to take them.
    NowhereToGo,
}

impl Bases {
    /// Writes the changes of `volume` into the overlay that its note names, if that is mounted now.
    /// `found` is what is known to be the container's.
    ///
    /// What the overlay cannot hold is named in the note: the snapshot is the container's root at its next start.
    ///
    /// Interrupted and done again it ends the same. One process at a time: another waits.
    ///
    /// # Errors
    /// [`RootfsError`]; snapshot and note are as they were.
    pub(super) fn save_changes(
        &self,
        volume: &VolumeName,
        found: Mounts,
    ) -> Result<Changes, RootfsError> {
        let only_here = self.notes().read(volume)?.and_then(|note| note.only_here);
        let saved = match only_here {
            // What came into the overlay since would be lost.
            Some(only) => Ok(Changes::Partly(only.count)),
            None => self.save(volume, found),
        };
        let saved = saved.and_then(|saved| {
            if let Changes::Saved(Tally { left_out, .. }) = &saved
                && left_out.count > 0
            {
                self.notes().write_left_out(volume, left_out)?;
            }
            Ok(saved)
        });
        // It waits for the next start, and so that `gc` sees that nobody uses it.
        if !matches!(&saved, Ok(Changes::Saved(tally)) if tally.left_out.count == 0)
            && let Err(error) = self.pool()?.deactivate(volume)
        {
            tracing::debug!("{}", chain(&error));
        }
        saved
    }

    /// The same for a snapshot that stays in use.
    ///
    /// # Errors
    /// [`RootfsError`]; snapshot and note are as they were.
    pub(super) fn save(&self, volume: &VolumeName, found: Mounts) -> Result<Changes, RootfsError> {
        let pool = self.pool()?;
        if pool.ready(volume)?.is_none() || self.notes().read(volume)?.is_none() {
            return Ok(Changes::Saved(Tally::default()));
        }
        let device = pool.activate(volume)?.device;
        let turn = File::open(&device).map_err(file("open", &device))?;
        turn.lock().map_err(file("lock", &device))?;
        // Another process may have done it while this one waited.
        let Some(mut note) = self.notes().read(volume)?.filter(|note| !note.is_obsolete()) else {
            return Ok(Changes::Saved(Tally::default()));
        };
        let merged = found.overlay.map_or_else(|| overlay_of(&note), |overlay| Ok(Some(overlay)));
        let Some(merged) = merged? else { return Ok(Changes::NowhereToGo) };
        let was_noticed = note.notice.is_some();
        take_notice(&mut note, &merged)?;
        let exchange = Exchange { bases: self, volume, note: &note, merged: &merged };
        let written = exchange.write_all(&device, found.snapshot);
        let tally = written.inspect_err(|_| {
            // The engine's disk may be full: then what it shows lacks more than before.
            if was_noticed
                && let Err(error) = self.notes().put_notice_or_warn(volume, &mut note, &merged)
            {
                tracing::warn!(
                    "the overlay at {} lacks files, and nothing there says so: {}",
                    note.root_path.display(),
                    chain(&error)
                );
            }
        })?;
        if tally.left_out.count > 0 {
            self.notes().put_notice_or_warn(volume, &mut note, &merged)?;
        } else if was_noticed {
            self.notes().write(volume, &note)?;
        }
        Ok(Changes::Saved(tally))
    }
}

/// The container's overlay, if that is what its engine has mounted at the root path now.
fn overlay_of(note: &Note) -> Result<Option<Detached>, RootfsError> {
    let identified = image::identify(&note.root_path, &note.id);
    let same = |image: image::Image| image.upper.is_some_and(|upper| upper.path == note.upper);
    if !identified.is_ok_and(same) {
        return Ok(None);
    }
    overlay_at(&note.root_path)
}

/// The overlay that is mounted exactly there.
pub(super) fn overlay_at(path: &Path) -> Result<Option<Detached>, RootfsError> {
    if mount::device_mounted_at(path).is_none() {
        return Ok(None);
    }
    Ok(Some(mount::bind(path)?).filter(Detached::is_overlay))
}

/// A label for the note.
pub(super) fn noted(label: Option<&MountLabel>) -> Option<String> {
    label.map(|label| label.as_context().to_owned())
}
