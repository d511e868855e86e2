//! The snapshots that no record knows: a reboot takes the records and not the pool.
//!
//! `gc` writes no changes back. An overlay can be written only where it is mounted, and whoever mounted it may be using it:
//! a container may run on the engine's rootfs, and then the snapshot is the older of the two. Only a start of the
//! container itself knows that nothing runs, so only a start writes back (`earlier.rs`).

use sharedroot_dm::{Reconcile, Volume, VolumeName};

use crate::bases::Bases;
use crate::containers::Containers;
use crate::error::RootfsError;

/// What became of a snapshot that no record knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its container is gone for its engine, or it has nothing to give back: deleted.
    Gone,
    /// Its engine still has the container: it waits for its next start.
    Kept,
    /// The same, and it is the root of that start, for it holds what its engine's overlay cannot.
    Root,
}

/// The fate of each snapshot, or why it has none.
pub type Fates = Vec<(VolumeName, Result<Fate, RootfsError>)>;

/// Deletes the idle snapshots that no record knows; but none with changes that its container's engine may still want.
/// One that fails is no reason to leave the others.
///
/// # Errors
/// [`RootfsError`] if it cannot be told which those are.
pub fn delete_forgotten(
    bases: &Bases,
    containers: &dyn Containers,
    how: Reconcile,
) -> Result<Fates, RootfsError> {
    // In this order, for a record is written before the note and what comes with it, and these before the snapshot is taken.
    let mut stale = bases.notes().volumes_with_files()?;
    let volumes = bases.known_pool()?.volumes()?;
    stale.retain(|name| volumes.iter().all(|volume| volume.name != *name));
    let idle = |v: &Volume| v.name.is_snapshot() && v.is_ready() && !v.active;
    let mut idle: Vec<_> = volumes.into_iter().filter(idle).map(|v| v.name).collect();
    for volume in containers.snapshots().map_err(RootfsError::Containers)? {
        if !bases.is_left_over(&volume) {
            idle.retain(|name| *name != volume);
            stale.retain(|name| *name != volume);
        }
    }
    let mut fates = Fates::new();
    for name in stale.into_iter().filter(|_| how == Reconcile::Apply) {
        if let Err(error) = bases.notes().remove_files(&name) {
            fates.push((name, Err(error)));
        }
    }
    fates.extend(idle.into_iter().map(|name| {
        let fate = bases.fate(&name, containers, how);
        (name, fate)
    }));
    Ok(fates)
}

impl Bases {
    fn fate(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
        how: Reconcile,
    ) -> Result<Fate, RootfsError> {
        if let Some(note) = self.notes().read(name)?.filter(|note| !note.is_obsolete()) {
            return Ok(if note.only_here.is_some() { Fate::Root } else { Fate::Kept });
        }
        if how == Reconcile::Apply {
            self.delete_with_note(name, containers)?;
        }
        Ok(Fate::Gone)
    }

    fn delete_with_note(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
    ) -> Result<(), RootfsError> {
        self.active_pool()?.delete(name)?;
        containers.forget(name).map_err(RootfsError::Containers)?;
        self.notes().remove(name)
    }

    /// Deletes the snapshot of a container that has ended, with what only it holds.
    ///
    /// # Errors
    /// [`RootfsError::NoSnapshot`]; [`RootfsError::Dm`] for one that is in use.
    pub fn drop_snapshot(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
    ) -> Result<(), RootfsError> {
        if !name.is_snapshot() || self.active_pool()?.volume(name)?.is_none() {
            return Err(RootfsError::NoSnapshot { volume: name.clone() });
        }
        self.delete_with_note(name, containers)
    }

    /// Whether a record's snapshot is of a container that its engine has removed, although its `delete` failed. A note
    /// that cannot be read leaves it to the record.
    fn is_left_over(&self, volume: &VolumeName) -> bool {
        let note = self.notes().read(volume).ok().flatten();
        note.is_some_and(|note| note.is_obsolete())
    }
}
