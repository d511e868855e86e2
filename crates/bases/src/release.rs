//! The end of a writable container's root, and a pause of the container: its engine gets what the container changed.

use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_image as image;
use sharedroot_label::MountLabel;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::step::step;

use crate::bases::Bases;
use crate::changes::Tally;
use crate::error::RootfsError;
use crate::labels::label_at;
use crate::note::{Note, named};
use crate::room::is_full;
use crate::writeback::{Changes, Mounts, overlay_at};

/// Where a container's changes are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenBack {
    /// In the engine's overlay, which got this many changes.
    Changes(u64),
    /// In the engine's overlay, which got this many changes. This many other files stay in the snapshot, because the overlay
    /// cannot hold them.
    Partly(u64, u64),
    /// In the snapshot only; a warning has given the reason.
    Kept,
}

/// Writes what a container has changed so far into the engine's overlay below its root. Engines pack a layer of the overlay
/// while the container is paused (`docker commit`), and read the overlay's own directories.
///
/// # Errors
/// [`RootfsError`]; the container's root is unchanged.
pub fn save_so_far(
    bases: &Bases,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<WrittenBack, RootfsError> {
    // Without a note no engine wants the changes.
    let Some(note) = bases.notes().read(volume)? else { return Ok(WrittenBack::Changes(0)) };
    let nowhere = || RootfsError::NowhereToGo { path: mount_point.to_owned() };
    let snapshot = own_mount(bases, volume, mount_point)?.ok_or_else(nowhere)?;
    // The overlay can be reached where the snapshot's mount does not cover it.
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

/// The snapshot's own mount at `mount_point`, or the overlay of the snapshot. The mount below belongs to the engine's daemon.
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

/// Unmounts the root at `mount_point`, writes what the container changed into the engine's overlay below it, and deletes the
/// snapshot. A missing mount or snapshot is no error.
///
/// If the overlay is gone, or the pool has no room for the journal, the snapshot stays until the next start of the container.
///
/// # Errors
/// [`RootfsError`]. The caller must keep the record, so that the call can be repeated.
pub fn release_private(
    bases: &Bases,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<WrittenBack, RootfsError> {
    let unmounts = step("take the mount away");
    let snapshot = own_mount(bases, volume, mount_point)?;
    let mut found = Mounts { snapshot, overlay: None };
    let mut label = None;
    if found.snapshot.is_some() {
        label = label_at(mount_point).ok().flatten();
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
                "no overlay at {at} takes what the container changed: the changes stay in {volume} until the container's next start"
            );
            return Ok(WrittenBack::Kept);
        }
        // An administrator who needs room must be able to delete containers.
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
    // A mount that leaked into another mount namespace does not keep the container: the log names the mount.
    pool.delete_when_idle(volume, label.as_ref().map(MountLabel::as_context))?;
    bases.notes().remove(volume)?;
    Ok(WrittenBack::Changes(changes))
}
