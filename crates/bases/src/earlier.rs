//! What a container changed before its last end and its engine did not get: a power cut or a `delete` that could not write
//! back left it in a snapshot.
//!
//! Every start asks for it, whatever kind of root the container gets this time: on the engine's rootfs it would go on from
//! an older state, and what it writes there would meet the snapshot's older content at a later write-back.

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
    /// Nothing that its engine has not.
    Nothing,
    /// A snapshot with what its engine's overlay cannot hold: the root of this start, too. The first of it, for people.
    Root(String),
}

/// What is noted of an earlier start's snapshot: something of it may be in no other place.
#[derive(Debug)]
pub struct Kept(Note);

impl Bases {
    /// Looks for what an earlier start left in the snapshot that is locked. The caller holds the lock until the container has
    /// its root.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn kept(&self, lock: &SnapshotLock) -> Result<Option<Kept>, RootfsError> {
        // One open(2) more for a container that ended well.
        Ok(self.notes().read(lock.volume())?.map(Kept))
    }

    /// Writes what container `id` changed before its last end into the overlay at `root_path`, and deletes the snapshot
    /// `volume` that held it. Nothing is done where there is no such snapshot, and none is deleted that holds what the
    /// overlay cannot.
    ///
    /// # Errors
    /// [`RootfsError::Unsaved`] if the snapshot holds changes of another upper directory than the one at `root_path`, or it
    /// is not certain that it is the same; any other if they cannot be written. The snapshot is as it was, and the
    /// container must not start.
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
            // The pool went with its snapshots. What the overlay lacks is nowhere.
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
        pool.delete_when_idle(volume)?;
        self.notes().remove(volume)?;
        Ok(Earlier::Nothing)
    }
}

impl Note {
    /// Whether the overlay at `root_path` has this note's upper directory, for certain.
    fn is_of(&self, root_path: &Path, id: &str) -> bool {
        if let Ok(image) = image::identify(root_path, id)
            && let Some(upper) = image.upper
        {
            return upper.path == self.upper;
        }
        // Also of an overlay whose image cannot be told. Engines shorten long options to paths relative to their store.
        image::upper_at(root_path).is_some_and(|upper| match upper.is_absolute() {
            true => upper == self.upper,
            false => self.root_path == root_path && self.upper.ends_with(&upper),
        })
    }
}
