//! Changes that a container made before its last end, and that its engine did not get. They stay in a snapshot after a power
//! cut, or after a `delete` that could not write them back.
//!
//! Every start looks for such a snapshot, whatever kind of root the container gets this time. On the engine's rootfs the
//! container would go on from an older state, and a later write-back would mix the files that it writes there with older
//! content of the snapshot.

use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_image as image;

use super::note::{Note, named};
use super::notice::take_notice;
use super::writeback::{Changes, Mounts, overlay_at};
use crate::bases::Bases;
use crate::error::RootfsError;
use crate::snapshot_lock::SnapshotLock;

/// What an earlier start of a container left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing that the engine lacks.
    Nothing,
    /// A snapshot with files that the engine's overlay cannot hold: the snapshot is the root of this start, too. The text names
    /// the first of these files, for people.
    Root(String),
}

/// The note of an earlier start's snapshot. Some content of the snapshot may be in no other place.
#[derive(Debug)]
pub struct Kept(Note);

impl Bases {
    /// Looks for what an earlier start left in the locked snapshot. The caller holds the lock until the container has its root.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn kept(&self, lock: &SnapshotLock) -> Result<Option<Kept>, RootfsError> {
        // For a container that ended well this costs one failed open(2).
        Ok(self.notes().read(lock.volume())?.map(Kept))
    }

    /// Writes what container `id` changed before its last end into the overlay at `root_path`, and deletes the snapshot
    /// `volume` that held the changes. If there is no such snapshot, nothing is done. A snapshot with files that the overlay
    /// cannot hold is not deleted.
    ///
    /// # Errors
    /// [`RootfsError::Unsaved`] if the snapshot's changes belong to another upper directory than the one at `root_path`, or if
    /// that is not certain; another error if the changes cannot be written. The snapshot is unchanged, and the container must
    /// not start.
    pub fn settle(
        &self,
        id: &str,
        volume: &VolumeName,
        root_path: &Path,
        Kept(mut note): Kept,
    ) -> Result<Earlier, RootfsError> {
        let pool = self.pool_if_made()?;
        let known = pool.map(|pool| pool.volume(volume)).transpose()?.flatten();
        let (Some(pool), Some(_)) = (pool, known) else {
            // The snapshot was deleted with its pool, so the files that the overlay lacks are lost.
            if note.notice.is_some()
                && note.is_of(root_path, id)
                && let Some(merged) = overlay_at(root_path)?
            {
                take_notice(&mut note, merged)?;
                self.notes().write(volume, &note)?;
            }
            return Ok(Earlier::Nothing);
        };
        if !note.is_obsolete() {
            let unsaved = || RootfsError::Unsaved {
                id: id.to_owned(),
                volume: volume.clone(),
                upper: note.upper.clone(),
            };
            if !note.is_of(root_path, id) {
                return Err(unsaved());
            }
            if let Some(only) = note.only_here {
                return Ok(Earlier::Root(only.first));
            }
            tracing::warn!("container {id}: writing back what it changed before its last end");
            let found = Mounts { overlay: overlay_at(root_path)?, ..Mounts::default() };
            match self.save_changes(volume, found)? {
                Changes::Saved(tally) if tally.left_out.count > 0 => {
                    return Ok(Earlier::Root(named(&tally.left_out)));
                }
                Changes::Saved(_) => {}
                Changes::Partly(_) | Changes::NowhereToGo => return Err(unsaved()),
            }
        }
        pool.delete_when_idle(volume, note.label.as_deref())?;
        self.notes().remove(volume)?;
        Ok(Earlier::Nothing)
    }
}

impl Note {
    /// Whether the overlay at `root_path` certainly has the upper directory that this note names.
    fn is_of(&self, root_path: &Path, id: &str) -> bool {
        if let Ok(image) = image::identify(root_path, id)
            && let Some(upper) = image.upper
        {
            return upper.path == self.upper;
        }
        // This works also for an overlay whose image cannot be identified. Engines write long options as paths relative to
        // their store.
        image::upper_at(root_path).is_some_and(|upper| match upper.is_absolute() {
            true => upper == self.upper,
            false => self.root_path == root_path && self.upper.ends_with(&upper),
        })
    }
}
