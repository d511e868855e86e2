//! The end of a writable container's root, and a pause of it: what the container changed goes to its engine.

use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_image as image;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::step::step;

use crate::bases::Bases;
use crate::changes::Tally;
use crate::error::RootfsError;
use crate::note::{Note, named};
use crate::room::is_full;
use crate::writeback::{Changes, Mounts, overlay_at};

/// What became of what a container changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenBack {
    /// So many changes were made in the engine's overlay.
    Changes(u64),
    /// The same, and so many files stay in the snapshot, for the overlay cannot hold them.
    Partly(u64, u64),
    /// They are in the snapshot only; a warning said why.
    Kept,
}

/// Writes what a container has changed so far into the engine's overlay below its root: engines pack a layer of it while
/// the container is paused (`docker commit`), and look into the overlay's own directories.
///
/// # Errors
/// [`RootfsError`]; the container's root is as it was.
pub fn save_so_far(
    bases: &Bases,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<WrittenBack, RootfsError> {
    // Without a note no engine wants anything.
    let Some(note) = bases.notes().read(volume)? else { return Ok(WrittenBack::Changes(0)) };
    let nowhere = || RootfsError::NowhereToGo { path: mount_point.to_owned() };
    let snapshot = own_mount(bases, volume, mount_point)?.ok_or_else(nowhere)?;
    // The overlay can be reached where our mount is not above it.
    let uncovered = mount::apart(|| {
        mount::detach(mount_point)?;
        overlay_at(mount_point)
    })?;
    let found = Mounts { snapshot: Some(snapshot), overlay: Some(uncovered?.ok_or_else(nowhere)?) };
    let (id, upper) = (note.id.clone(), note.upper.clone());
    bases.notes().write_giving_back(volume, note)?;
    let saved = bases.save(volume, found);
    if let Some(note) = bases.notes().read(volume)? {
        let upper_then = Some(bases.notes().keep_upper(volume, &upper)?);
        bases.notes().write(volume, &Note { upper_then, ..note })?;
    }
    match saved? {
        Changes::Saved(Tally { left_out, .. }) if left_out.count > 0 => {
            Err(RootfsError::NotInOverlay { id, count: left_out.count, first: named(&left_out) })
        }
        Changes::Saved(tally) => Ok(WrittenBack::Changes(tally.changes)),
        Changes::Partly(_) | Changes::NowhereToGo => Err(nowhere()),
    }
}

/// The snapshot's own mount at `mount_point`, or the overlay of it, if that is what is there: the overlay below it is the
/// daemon's.
fn own_mount(
    bases: &Bases,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<Option<Detached>, RootfsError> {
    let Some((major, minor)) = mount::device_mounted_at(mount_point) else { return Ok(None) };
    let name = format!("/sys/dev/block/{major}:{minor}/dm/name");
    let ours = bases.config().pool.name.device_of(volume);
    match std::fs::read_to_string(name) {
        Ok(name) if name.trim_end() == ours => Ok(Some(mount::bind(mount_point)?)),
        _ if image::is_overlay_of(mount_point, &ours) => Ok(Some(mount::bind(mount_point)?)),
        _ => Ok(None),
    }
}

/// Takes the mount at `mount_point` away, writes what the container changed into the engine's overlay below it, and
/// deletes the snapshot. What is gone already is no error.
///
/// Where the overlay is gone, or the pool has no room for the journal, the snapshot stays for the next start of the
/// container.
///
/// # Errors
/// [`RootfsError`]; the record must stay, so that it can be tried again.
pub fn release_private(
    bases: &Bases,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<WrittenBack, RootfsError> {
    let unmounts = step("take the mount away");
    let snapshot = own_mount(bases, volume, mount_point)?;
    let mut found = Mounts { snapshot, overlay: None };
    if found.snapshot.is_some() {
        mount::detach(mount_point)?;
        found.overlay = overlay_at(mount_point)?;
    }
    drop(unmounts);
    let Some(pool) = bases.pool_if_made()? else { return Ok(WrittenBack::Changes(0)) };
    let at = mount_point.display();
    let changes = match bases.save_changes(volume, found) {
        Ok(Changes::Saved(Tally { changes, left_out, .. })) if left_out.count > 0 => {
            return Ok(WrittenBack::Partly(changes, left_out.count));
        }
        Ok(Changes::Saved(tally)) => tally.changes,
        Ok(Changes::Partly(left_out)) => return Ok(WrittenBack::Partly(0, left_out)),
        Ok(Changes::NowhereToGo) => {
            tracing::warn!(
                "no overlay at {at} takes what the container changed: it stays in {volume} until the container's next start"
            );
            return Ok(WrittenBack::Kept);
        }
        // Whoever wants room must be able to delete containers.
        Err(RootfsError::Dm(error)) if is_full(&error) => {
            tracing::warn!(
                "what the container at {at} changed stays in {volume}: {}",
                chain(&error)
            );
            return Ok(WrittenBack::Kept);
        }
        Err(error) => return Err(error),
    };
    let _step = step("delete the snapshot");
    // A mount that leaked into another mount namespace is no reason to keep the container: the log names it.
    pool.delete_when_idle(volume)?;
    bases.notes().remove(volume)?;
    Ok(WrittenBack::Changes(changes))
}
