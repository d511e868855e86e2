//! The changes in a private rootfs go back to the engine before the snapshot is deleted.
//!
//! The engine's overlay lies below sharedroot's mount. The overlay is written through its own mount, so that the kernel makes
//! whiteouts and opaque directories, and only one process writes at a time.

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

/// The mounts that are known to belong to the container.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Its snapshot. After the pool was full, what did not reach the pool can be read only through this mount.
    pub snapshot: Option<Detached>,
    /// The overlay of its engine.
    pub overlay: Option<Detached>,
}

impl Mounts {
    /// The container's overlay: the mount that is known to belong to it, or what its engine has mounted now.
    fn overlay_of(&mut self, note: &Note) -> Result<Option<Detached>, RootfsError> {
        self.overlay.take().map_or_else(|| overlay_of(note), |overlay| Ok(Some(overlay)))
    }
}

/// Where a snapshot's changes are now.
#[derive(Debug)]
pub(super) enum Changes {
    /// The engine has the changes, or wants none.
    Saved(Tally),
    /// At an earlier attempt the engine got what its overlay can hold; this many files are only in the snapshot.
    Partly(u64),
    /// The engine's overlay is not mounted, so nothing can take the changes.
    NowhereToGo,
}

impl Bases {
    /// Writes the changes of `volume` into the overlay that its note names, if the overlay is mounted now. `found` has the
    /// mounts that are known to belong to the container.
    ///
    /// The note gets the names of files that the overlay cannot hold: the snapshot is the container's root at its next start.
    ///
    /// A call that was interrupted can be repeated, with the same result. Only one process at a time writes; another process
    /// waits.
    ///
    /// # Errors
    /// [`RootfsError`]; snapshot and note are unchanged.
    pub(super) fn save_changes(
        &self,
        volume: &VolumeName,
        found: Mounts,
    ) -> Result<Changes, RootfsError> {
        let only_here = self.notes().read(volume)?.and_then(|note| note.only_here);
        let saved = match only_here {
            // Another write-back would overwrite what came into the overlay since.
            Some(only) => {
                self.notice_again(volume, found)?;
                Ok(Changes::Partly(only.count))
            }
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
        // The snapshot waits for the next start. Deactivated, it tells `gc` that nobody uses it.
        if !matches!(&saved, Ok(Changes::Saved(tally)) if tally.left_out.count == 0)
            && let Err(error) = self.pool()?.deactivate(volume)
        {
            tracing::debug!("{}", chain(&error));
        }
        saved
    }

    /// Puts the notice back that a start removed, if the start was killed before the container was made.
    fn notice_again(&self, volume: &VolumeName, mut found: Mounts) -> Result<(), RootfsError> {
        let Some(mut note) = self.notes().read(volume)?.filter(|note| note.notice.is_some()) else {
            return Ok(());
        };
        let Some(merged) = found.overlay_of(&note)? else { return Ok(()) };
        take_notice(&mut note, &merged)?;
        self.notes().put_notice_or_warn(volume, &mut note, &merged)
    }

    /// Writes the changes of a snapshot that stays in use, as [`Self::save_changes`] does.
    ///
    /// # Errors
    /// [`RootfsError`]; snapshot and note are unchanged.
    pub(super) fn save(
        &self,
        volume: &VolumeName,
        mut found: Mounts,
    ) -> Result<Changes, RootfsError> {
        let pool = self.pool()?;
        if pool.ready(volume)?.is_none() || self.notes().read(volume)?.is_none() {
            return Ok(Changes::Saved(Tally::default()));
        }
        let device = pool.activate(volume)?.device;
        let turn = File::open(&device).map_err(file("open", &device))?;
        turn.lock().map_err(file("lock", &device))?;
        // Another process may have written the changes while this process waited.
        let Some(mut note) = self.notes().read(volume)?.filter(|note| !note.is_obsolete()) else {
            return Ok(Changes::Saved(Tally::default()));
        };
        let Some(merged) = found.overlay_of(&note)? else { return Ok(Changes::NowhereToGo) };
        if found.snapshot.is_none() {
            self.note_replay(volume, &device, &mut note)?;
        }
        let was_noticed = note.notice.is_some();
        take_notice(&mut note, &merged)?;
        let exchange = Exchange { bases: self, volume, note: &note, merged: &merged };
        let written = exchange.write_all(&device, found.snapshot);
        let tally = written.inspect_err(|_| {
            // The engine's disk may be full: the overlay may then lack more files than before.
            if was_noticed {
                self.notes().put_notice_back(volume, &mut note, &merged);
            }
        })?;
        if tally.left_out.count > 0 {
            self.notes().put_notice_or_warn(volume, &mut note, &merged)?;
        } else if was_noticed || note.replayed {
            note.replayed = false;
            self.notes().write(volume, &note)?;
        }
        Ok(Changes::Saved(tally))
    }
}

/// The container's overlay, if its engine has this overlay mounted at the root path now.
fn overlay_of(note: &Note) -> Result<Option<Detached>, RootfsError> {
    let identified = image::identify(&note.root_path, &note.id);
    let same = |image: image::Image| image.upper.is_some_and(|upper| upper.path == note.upper);
    if !identified.is_ok_and(same) {
        return Ok(None);
    }
    overlay_at(&note.root_path)
}

/// The overlay that is mounted exactly at `path`.
pub(super) fn overlay_at(path: &Path) -> Result<Option<Detached>, RootfsError> {
    if mount::device_mounted_at(path).is_none() {
        return Ok(None);
    }
    Ok(Some(mount::bind(path)?).filter(Detached::is_overlay))
}

/// The form of a label in the note.
pub(super) fn noted(label: Option<&MountLabel>) -> Option<String> {
    label.map(|label| label.as_context().to_owned())
}
