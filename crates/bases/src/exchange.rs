//! What is copied between a snapshot and its engine's overlay, in both directions.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sharedroot_dm::VolumeName;
use sharedroot_label::enabled;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::step::step;

use crate::bases::Bases;
use crate::changes::{
    self, ChangeError, EnginesRoot, Since, Snapshot, Tally, Times, Unchanged, Written,
};
use crate::error::{RootfsError, file};
use crate::not_shared::NotShared;
use crate::note::Note;
use crate::overlaid::moved;
use crate::snapshot_mount::detached_snapshot;
use crate::unsynced::Unsynced;

/// A snapshot with a note, and the overlay to which the snapshot's changes belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub bases: &'a Bases,
    pub volume: &'a VolumeName,
    pub note: &'a Note,
    /// The overlay as its engine has mounted it.
    pub merged: &'a Detached,
}

impl Exchange<'_> {
    /// Writes the changes of the snapshot on `device` into the overlay. The snapshot is or was the container's root.
    ///
    /// # Errors
    /// [`RootfsError`]. A later call starts again from the beginning.
    pub(crate) fn write_all(
        &self,
        device: &Path,
        snapshot: Option<Detached>,
    ) -> Result<Tally, RootfsError> {
        let Self { bases, volume, note, .. } = *self;
        let label = note.label.as_deref().filter(|_| enabled());
        let (snapshot, moved) = match snapshot {
            Some(mounted) if note.overlaid => {
                // The overlay of the snapshot stays mounted beside this mount.
                (mounted, moved(detached_snapshot(device, label)?)?)
            }
            Some(mounted) => (mounted, Times::default()),
            None => {
                self.keep_copied(device)?;
                let ended = bases.ended_snapshot(device, label)?;
                let moved = if note.overlaid { moved(&ended)? } else { Times::default() };
                match bases.as_it_was(ended, volume, note)? {
                    Some(mounted) => (mounted, moved),
                    None => return Ok(Tally::default()),
                }
            }
        };
        self.write_back(&snapshot, &moved)
    }

    /// `moved` has the inodes that changed in the snapshot before the container began.
    fn write_back(&self, snapshot: &Detached, moved: &Times) -> Result<Tally, RootfsError> {
        let Self { bases, volume, note, merged } = *self;
        let _step = step("write the changes back");
        let looked = std::cell::Cell::new(false);
        let base = || -> Option<OwnedFd> {
            // A directory that was moved away when the engine got changes may be back at its place, and the engine's overlay
            // lacks it.
            if note.given_back {
                return None;
            }
            looked.set(true);
            match bases.look_at_base(&note.base) {
                Ok(base) => base.map(OwnedFd::from),
                Err(error) => {
                    tracing::debug!("comparing all of a directory: {}", chain(&error));
                    None
                }
            }
        };
        let spill = || bases.notes().spill();
        let (from, to) = (snapshot.as_fd(), merged.as_fd());
        // Opened before the first change, so that the sync reports each error.
        let store = match store_of(&note.upper) {
            Some(store) => store,
            None => top_of(merged)?,
        };
        let written = self.written()?;
        let unchanged = Unchanged { base: &base, moved, written: written.as_ref() };
        let to = EnginesRoot { merged: to, store: store.as_fd() };
        let unsynced = self.begin()?;
        let walked = changes::write_back(from, unchanged, to, &spill);
        if looked.get()
            && let Err(error) = bases.look_away(&note.base)
        {
            tracing::debug!("{}", chain(&error));
        }
        let tally = walked.map_err(|cause| RootfsError::WriteBack {
            id: note.id.clone(),
            volume: volume.clone(),
            cause,
        })?;
        tracing::debug!("{volume}: {} inodes looked at, {} changes", tally.seen, tally.changes);
        // A container's fsync(2) reached the snapshot's disk, and the snapshot will be deleted.
        let synced = unsynced.end(tally.changes, || changes::sync(store.as_fd()));
        synced.map_err(|cause| self.not_on_disk(Some(cause)))?;
        Ok(tally)
    }

    /// What the container may have overwritten without a new time, if the host ended under it.
    fn written(&self) -> Result<Option<Written>, RootfsError> {
        let Self { bases, volume, note, .. } = *self;
        let ranges =
            note.replayed.then(|| bases.pool()?.written(volume).map_err(RootfsError::from));
        Ok(ranges.transpose()?.map(Written::new))
    }

    fn begin(&self) -> Result<Unsynced, RootfsError> {
        let run_dir = self.bases.run_dir();
        let unsynced = Unsynced::begin(run_dir, self.volume)
            .map_err(file("note that a write-back begins in", run_dir))?;
        match unsynced.is_lost() {
            true => Err(self.not_on_disk(None)),
            false => Ok(unsynced),
        }
    }

    fn not_on_disk(&self, cause: Option<ChangeError>) -> RootfsError {
        let Note { id, upper, .. } = self.note.clone();
        RootfsError::NotOnDisk { id, volume: self.volume.clone(), upper, cause }
    }

    /// Brings into the snapshot what came into the engine's overlay after the container's end, for example by `docker cp`. This
    /// concerns a container whose changes an earlier attempt could not write back, or whose host ended. Such files are newer
    /// than the snapshot.
    ///
    /// # Errors
    /// [`RootfsError::Unclear`], or another error. A later call starts again from the beginning.
    fn keep_copied(&self, device: &Path) -> Result<(), RootfsError> {
        let Self { bases, volume, note, .. } = *self;
        let Some((times, time)) = bases.notes().upper_then(volume, note) else {
            tracing::warn!(
                "it is not known whether a file was copied into container {} after its end; the container's own changes are kept",
                note.id
            );
            return Ok(());
        };
        if bases.notes().times_below(&note.upper)?.is_some_and(|now| now == times) {
            return Ok(());
        }
        let label = note.label.as_deref().filter(|_| enabled());
        let mounted = bases.kept_snapshot(device, label)?;
        let disk = top_of(&mounted)?;
        let Some(snapshot) = bases.as_it_was(mounted, volume, note)? else { return Ok(()) };
        let since = Since { time, times: Some(&times), unsaved: true };
        self.bring_newer(Snapshot { tree: snapshot.as_fd(), disk: disk.as_fd() }, since)
    }

    /// Brings into a kept snapshot what came into the engine's overlay since `since`.
    ///
    /// # Errors
    /// [`RootfsError`]. A later call starts again from the beginning.
    pub(crate) fn bring_newer(
        &self,
        snapshot: Snapshot<'_>,
        since: Since<'_>,
    ) -> Result<(), RootfsError> {
        let Self { bases, volume, note, merged } = *self;
        let upper = note.upper.as_path();
        let top = File::open(upper).map_err(file("open", upper))?;
        let spill = || bases.notes().spill();
        let brought = changes::bring_newer(top.as_fd(), merged.as_fd(), snapshot, since, &spill);
        let (id, volume) = (note.id.clone(), volume.clone());
        match brought {
            Ok(Tally { unclear: Some(path), .. }) => {
                let copy = upper.join(path.strip_prefix("/").unwrap_or(&path));
                Err(RootfsError::Unclear { id, volume, path, copy })
            }
            Ok(_) => Ok(()),
            Err(cause) => Err(RootfsError::BringNewer { id, volume, cause }),
        }
    }
}

impl Bases {
    /// Brings into a new snapshot what the engine's overlay holds over its image.
    ///
    /// # Errors
    /// [`RootfsError`]; the caller must delete the snapshot then.
    pub(crate) fn bring_in(
        &self,
        id: &str,
        upper: &Path,
        root_path: &Path,
        snapshot: Snapshot<'_>,
    ) -> Result<(), RootfsError> {
        let merged = mount::bind(root_path)?;
        let upper = File::open(upper).map_err(file("open", upper))?;
        let spill = || self.notes().spill();
        changes::bring_in(upper.as_fd(), merged.as_fd(), snapshot, &spill).map(drop).map_err(
            |source| {
                let id = id.to_owned();
                match source.source {
                    // The engine's root holds more than a snapshot has room for, or a file of which ext4 has no such size or
                    // no such number of names; or another process changes it, by a descriptor of an earlier mount.
                    Errno::NOSPC
                    | Errno::FBIG
                    | Errno::MLINK
                    | Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::LOOP
                    | Errno::STALE => NotShared::BringIn { id, source }.into(),
                    _ => RootfsError::BringIn { id, source },
                }
            },
        )
    }
}

/// The open top of a mount, for [`changes::sync`]. Of a snapshot it is taken before an overlay of the snapshot is made.
pub(crate) fn top_of(mounted: &Detached) -> Result<OwnedFd, RootfsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(mounted, ".", flags, Mode::empty())
        .map_err(|errno| file("open", Path::new("the top of a mount"))(errno.into()))
}

/// A directory of the file system that has the upper directory, as high in the tree as an engine's store goes. An engine can
/// limit the directories of one container by a quota, and statvfs(3) of such a directory gives the quota's numbers.
fn store_of(upper: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let device = rustix::fs::lstat(upper).ok()?.st_dev;
    let open = |dir: &Path| rustix::fs::open(dir, flags, Mode::empty()).ok();
    let is_same = |dir: &OwnedFd| rustix::fs::fstat(dir).is_ok_and(|found| found.st_dev == device);
    upper.ancestors().take(3).filter_map(open).filter(is_same).last()
}
