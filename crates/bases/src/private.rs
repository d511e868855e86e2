//! The root of a writable container: a snapshot of the base. It is mounted over `root.path` in the mount namespace of the
//! engine's daemon, too. So the daemon's own commands read what the container wrote.

use std::os::fd::AsFd;
use std::path::Path;

use sharedroot_dm::{Bytes, NewVolume, VolumeName};
use sharedroot_image::Image;
use sharedroot_label::MountLabel;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::step::step;

use crate::changes::{self, Since};

use super::earlier::Earlier;
use super::labels::label_at;
use super::note::{Note, UpperThen};
use super::notice::take_notice;
use super::size;
use super::snapshot_mount::detached_snapshot;
use super::unsynced::Unsynced;
use super::writeback::noted;
use crate::bases::Bases;
use crate::error::RootfsError;
use crate::exchange::{Exchange, top_of};
use crate::prepared::Prepared;

/// Where a private rootfs is mounted, and for which container.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The container ID.
    pub id: &'a str,
    /// The snapshot.
    pub volume: &'a VolumeName,
    /// The rootfs that the engine prepared.
    pub root_path: &'a Path,
    /// The label of all files in the rootfs.
    pub label: Option<&'a MountLabel>,
    /// The size of the rootfs. It can be no more than the size of the base.
    pub size: Option<Bytes>,
    /// What an earlier start left.
    pub earlier: &'a Earlier,
    /// The reason why the container's engine accepts only an overlay as root, if it does.
    pub overlay: Option<&'static str>,
}

/// A private root that is attached nowhere. Drop deletes a new snapshot that was not attached.
#[derive(Debug)]
pub struct Private<'p> {
    mounted: Detached,
    new: Option<NewVolume<'p>>,
}

impl Private<'_> {
    /// Attaches the root over `root_path` permanently.
    ///
    /// # Errors
    /// [`RootfsError`]; nothing is attached then.
    pub fn attach(self, root_path: &Path) -> Result<(), RootfsError> {
        let mounted = self.mounted.attach(root_path)?;
        if let Some(snapshot) = self.new {
            snapshot.keep()?;
        }
        mounted.keep();
        Ok(())
    }
}

/// Takes a snapshot of the image's base, and brings in what the engine's root holds over the image. After an earlier start that
/// left its snapshot, uses that snapshot instead.
///
/// # Errors
/// [`RootfsError`]. The caller then calls [`release_private`], which removes what is left.
pub fn prepare_private<'b>(
    bases: &'b Bases,
    image: &Image,
    place: Place<'_>,
) -> Result<Prepared<Private<'b>>, RootfsError> {
    Prepared::of(prepare(bases, image, place))
}

fn prepare<'b>(
    bases: &'b Bases,
    image: &Image,
    place: Place<'_>,
) -> Result<Private<'b>, RootfsError> {
    let Place { id, volume, root_path, label, size, earlier, overlay } = place;
    // Without a label of its own the root gets the label of the engine's root.
    let engines = label.is_none().then(|| label_at(root_path)).transpose()?.flatten();
    let label = label.or(engines.as_ref());
    if let Earlier::Root(_) = earlier {
        let mounted = go_on(bases, label, place)?;
        return Ok(Private { mounted, new: None });
    }
    bases.snapshot_base(image)?;
    clear_away(bases, label, place)?;
    bases.check_lingering(volume)?;
    note_beginning(bases, image, label, place)?;
    let base = VolumeName::of_base(&image.key);
    let takes = step("take the snapshot");
    let mut snapshot = bases.with_room(|pool| pool.snapshot(&base, volume))?;
    drop(takes);
    if let Some(wanted) = size {
        let _step = step("shrink the snapshot to the container's size");
        size::fit(&mut snapshot, wanted)?;
    }
    let mounts = step("mount the snapshot");
    let mounted = detached_snapshot(snapshot.device(), label.map(MountLabel::as_context))?;
    let upper = image.upper.as_ref().filter(|upper| !upper.empty);
    let disk = upper.map(|_| top_of(&mounted)).transpose()?;
    let mounted = match overlay {
        Some(_) => bases.overlay_of_new(mounted, volume, label)?,
        None => mounted,
    };
    drop(mounts);
    // Before the volume is kept: a volume that exists holds everything. Otherwise `delete` would remove from the engine's root
    // what never came into the snapshot.
    if let (Some(upper), Some(disk)) = (upper, disk) {
        let _step = step("bring in what the engine's root holds over the image");
        let snapshot = changes::Snapshot { tree: mounted.as_fd(), disk: disk.as_fd() };
        bases.bring_in(id, &upper.path, root_path, snapshot)?;
    }
    Ok(Private { mounted, new: Some(snapshot) })
}

/// Writes the note of a new snapshot, if the container's engine wants the changes.
fn note_beginning(
    bases: &Bases,
    image: &Image,
    label: Option<&MountLabel>,
    Place { id, volume, root_path, overlay, .. }: Place<'_>,
) -> Result<(), RootfsError> {
    let Some(found) = &image.upper else { return Ok(()) };
    Unsynced::forget(bases.run_dir(), volume);
    let upper_then = match found.empty {
        true => UpperThen::empty(),
        false => bases.notes().keep_upper(volume, &found.path)?,
    };
    let note = Note {
        id: id.to_owned(),
        root_path: root_path.to_owned(),
        upper: found.path.clone(),
        base: image.key.clone(),
        label: noted(label),
        given_back: false,
        overlaid: overlay.is_some(),
        notice: None,
        only_here: None,
        replayed: false,
        upper_then: Some(upper_then),
    };
    bases.notes().write(volume, &note)
}

/// Mounts the snapshot of an earlier start, because it holds files that the engine's overlay cannot hold. Brings in what came
/// into the overlay meanwhile.
fn go_on(
    bases: &Bases,
    label: Option<&MountLabel>,
    place: Place<'_>,
) -> Result<Detached, RootfsError> {
    let Place { id, volume, root_path, size, overlay, .. } = place;
    let dropped = || RootfsError::Dropped { id: id.to_owned(), volume: volume.clone() };
    let mut note = bases.notes().read(volume)?.ok_or_else(dropped)?;
    let Some(known) = bases.pool()?.volume(volume)? else { return Err(dropped()) };
    let only_here = note.only_here.clone().ok_or_else(dropped)?;
    let times = bases.notes().times_of(volume);
    let since = Since { time: only_here.since, times: times.as_ref(), unsaved: false };
    if let (Some(why), false) = (overlay, note.overlaid) {
        // Some files that only the snapshot can hold would have another meaning below an overlay.
        let (id, volume, first) = (id.to_owned(), volume.clone(), only_here.first);
        return Err(RootfsError::OnlyInSnapshot { id, volume, first, why: why.to_owned() });
    }
    if let Some(wanted) = size {
        size::check_kept(volume, known.size, wanted)?;
    }
    let device = bases.pool()?.activate(volume)?.device;
    bases.note_replay(volume, &device, &mut note)?;
    let mounted = bases.kept_snapshot(&device, label.map(MountLabel::as_context))?;
    let disk = top_of(&mounted)?;
    let mounted = bases.as_it_was(mounted, volume, &note)?.ok_or_else(dropped)?;
    let snapshot = changes::Snapshot { tree: mounted.as_fd(), disk: disk.as_fd() };
    let merged = mount::bind(root_path)?;
    let was_noticed = note.notice.is_some();
    take_notice(&mut note, &merged)?;
    let exchange = Exchange { bases, volume, note: &note, merged: &merged };
    // Before the note is written: with the older times, the next start would bring the same files in again.
    let brought = exchange
        .bring_newer(snapshot, since)
        .and_then(|()| bases.notes().keep_upper(volume, &note.upper));
    let upper_then = brought.inspect_err(|_| {
        if was_noticed {
            bases.notes().put_notice_back(volume, &mut note, &merged);
        }
    })?;
    let mut note = Note {
        root_path: root_path.to_owned(),
        label: noted(label),
        upper_then: Some(upper_then),
        // The overlay got changes while the snapshot stayed in use, and from now on the snapshot is newer.
        given_back: true,
        only_here: None,
        ..note
    };
    match was_noticed {
        // The notice stays until a write-back leaves nothing out: an engine can make an image without a pause.
        true => bases.notes().put_notice_or_warn(volume, &mut note, &merged)?,
        false => bases.notes().write(volume, &note)?,
    }
    Ok(mounted)
}

/// Removes an existing snapshot of this name. It has nothing to give back, because [`Bases::settle`] ran before.
fn clear_away(
    bases: &Bases,
    label: Option<&MountLabel>,
    place: Place<'_>,
) -> Result<(), RootfsError> {
    let Place { id, volume, .. } = place;
    let pool = bases.pool()?;
    if pool.volume(volume)?.is_none() {
        return Ok(());
    }
    let note = bases.notes().read(volume)?;
    if let Some(note) = note.as_ref().filter(|note| !note.is_obsolete()) {
        let (id, upper) = (id.to_owned(), note.upper.clone());
        return Err(RootfsError::Unsaved { id, volume: volume.clone(), upper });
    }
    // Without a note: an engine gives a container the same label at each start.
    let label = note.and_then(|note| note.label).or_else(|| noted(label));
    pool.delete_when_idle(volume, label.as_deref())?;
    bases.notes().remove(volume)
}
