//! What a private rootfs changed goes back to the engine, before the snapshot goes.
//!
//! The engine's overlay lies below our mount. It is written through its own mount, so that whiteouts
//! and opaque directories are the kernel's affair, and by one process at a time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_image as image;
use sharedroot_label::{MountLabel, enabled};
use sharedroot_sys::mount::{self, Detached, Setting};
use sharedroot_sys::step::step;

use crate::changes::{self, Since, Tally, Times};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::note::Note;
use super::notes::times_below;
use super::notice::take_notice;
use super::overlaid::moved;
use super::room::{make_room_for_replay, needs_replay};
use crate::bases::Bases;
use crate::error::{RootfsError, file};
use crate::not_shared::NotShared;

/// The file system of a snapshot, mounted nowhere.
pub(super) fn detached_snapshot(
    device: &Path,
    label: Option<&str>,
) -> Result<Detached, RootfsError> {
    // An idle snapshot writes almost nothing, for the inode tables of a base are never initialised, and keeps little in memory:
    // by itself the kernel reads the maps of all block groups ahead, 12 KiB each.
    mount_snapshot(device, label, false, &["noinit_itable", "no_prefetch_block_bitmaps"])
}

impl Bases {
    /// The same of a container that has ended and starts again on it.
    pub(super) fn kept_snapshot(
        &self,
        device: &Path,
        label: Option<&str>,
    ) -> Result<Detached, RootfsError> {
        if needs_replay(device)? {
            make_room_for_replay(self.pool()?)?;
        }
        detached_snapshot(device, label)
    }

    /// The same of a container that has ended, to be read.
    fn ended_snapshot(&self, device: &Path, label: Option<&str>) -> Result<Detached, RootfsError> {
        if !needs_replay(device)? {
            return mount_snapshot(device, label, true, &["noload"]);
        }
        make_room_for_replay(self.pool()?)?;
        detached_snapshot(device, label)
    }
}

fn mount_snapshot(
    device: &Path,
    label: Option<&str>,
    read_only: bool,
    flags: &[&'static str],
) -> Result<Detached, RootfsError> {
    let mut options: Vec<_> = flags.iter().map(|flag| Setting::Flag(flag)).collect();
    options.extend(label.map(|label| Setting::Value("context", label)));
    Ok(mount::block_device("ext4", device, read_only, &options)?)
}

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
            tracing::debug!("{error}");
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
        let written = self.write_all(volume, &note, (&device, found.snapshot), &merged);
        let tally = written.inspect_err(|_| {
            // The engine's disk may be full: then what it shows lacks more than before.
            if was_noticed
                && let Err(error) = self.notes().put_notice_or_warn(volume, &mut note, &merged)
            {
                tracing::warn!(
                    "the overlay at {} lacks files, and nothing there says so: {error}",
                    note.root_path.display()
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

    /// Writes the changes of the snapshot on `device`, which is the container's root or has been.
    fn write_all(
        &self,
        volume: &VolumeName,
        note: &Note,
        (device, snapshot): (&Path, Option<Detached>),
        merged: &Detached,
    ) -> Result<Tally, RootfsError> {
        let label = note.label.as_deref().filter(|_| enabled());
        let (snapshot, moved) = match snapshot {
            Some(mounted) if note.overlaid => {
                // Beside the overlay of it.
                (mounted, moved(detached_snapshot(device, label)?)?)
            }
            Some(mounted) => (mounted, Times::default()),
            None => {
                self.keep_copied(device, volume, note, merged)?;
                let ended = self.ended_snapshot(device, label)?;
                let moved = if note.overlaid { moved(&ended)? } else { Times::default() };
                match self.as_it_was(ended, volume, note)? {
                    Some(mounted) => (mounted, moved),
                    None => return Ok(Tally::default()),
                }
            }
        };
        self.write_back(volume, note, (&snapshot, &moved), merged)
    }

    fn write_back(
        &self,
        volume: &VolumeName,
        note: &Note,
        (snapshot, moved): (&Detached, &Times),
        merged: &Detached,
    ) -> Result<Tally, RootfsError> {
        let _step = step("write the changes back");
        let looked = std::cell::Cell::new(false);
        let base = || -> Option<OwnedFd> {
            // A directory that was away when the engine got changes is at its place again, and not in the engine's overlay.
            if note.given_back {
                return None;
            }
            looked.set(true);
            match self.look_at_base(&note.base) {
                Ok(base) => base.map(OwnedFd::from),
                Err(error) => {
                    tracing::debug!("comparing all of a directory: {error}");
                    None
                }
            }
        };
        let spill = || self.spill();
        let (from, to) = (snapshot.as_fd(), merged.as_fd());
        let store = store_of(&note.upper);
        let to = (to, store.as_ref().map_or(to, AsFd::as_fd));
        let written = changes::write_back(from, (&base, moved), to, &spill);
        if looked.get()
            && let Err(error) = self.look_away(&note.base)
        {
            tracing::debug!("{error}");
        }
        let tally = written.map_err(|source| RootfsError::WriteBack {
            id: note.id.clone(),
            volume: volume.clone(),
            source,
        })?;
        tracing::debug!("{volume}: {} inodes looked at, {} changes", tally.seen, tally.changes);
        Ok(tally)
    }

    /// A file without a name, for what a walk does not keep in memory: on the disk, and not below `/run`.
    fn spill(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::open(self.state_dir(), flags, Mode::RUSR | Mode::WUSR)
    }

    /// Brings into the snapshot what came into the engine's overlay after the container's end, as by `docker cp` into a
    /// container whose changes an earlier attempt could not write back, or whose host ended: that is newer than the snapshot.
    ///
    /// # Errors
    /// [`RootfsError::Unclear`]; any other. The whole can be begun anew.
    fn keep_copied(
        &self,
        device: &Path,
        volume: &VolumeName,
        note: &Note,
        merged: &Detached,
    ) -> Result<(), RootfsError> {
        let Some((times, time)) = self.notes().upper_then(volume, note) else {
            tracing::warn!(
                "whether something was copied into container {} after its end is not known; what the container changed stands",
                note.id
            );
            return Ok(());
        };
        if times_below(&note.upper)?.is_some_and(|now| now == times) {
            return Ok(());
        }
        let label = note.label.as_deref().filter(|_| enabled());
        let mounted = self.kept_snapshot(device, label)?;
        let Some(snapshot) = self.as_it_was(mounted, volume, note)? else { return Ok(()) };
        let since = Since { time, times: Some(&times), unsaved: true };
        self.bring_newer((&note.id, volume), &note.upper, merged, &snapshot, since)
    }

    /// Makes what came into the engine's overlay since `since` part of a kept snapshot.
    ///
    /// # Errors
    /// [`RootfsError`]; the whole can be begun anew.
    pub(super) fn bring_newer(
        &self,
        (id, volume): (&str, &VolumeName),
        upper: &Path,
        merged: &Detached,
        snapshot: &Detached,
        since: Since<'_>,
    ) -> Result<(), RootfsError> {
        let top = File::open(upper).map_err(file("open", upper))?;
        let spill = || self.spill();
        let (from, to) = (merged.as_fd(), snapshot.as_fd());
        let brought = changes::bring_newer(top.as_fd(), from, to, since, &spill);
        let (id, volume) = (id.to_owned(), volume.clone());
        match brought {
            Ok(Tally { unclear: Some(path), .. }) => {
                let copy = upper.join(path.strip_prefix("/").unwrap_or(&path));
                Err(RootfsError::Unclear { id, volume, path, copy })
            }
            Ok(_) => Ok(()),
            Err(source) => Err(RootfsError::BringNewer { id, volume, source }),
        }
    }

    /// Makes what the engine's overlay holds over its image part of a new snapshot.
    ///
    /// # Errors
    /// [`RootfsError`]; the snapshot is then of no use.
    pub(super) fn bring_in(
        &self,
        id: &str,
        upper: &Path,
        root_path: &Path,
        snapshot: &Detached,
    ) -> Result<(), RootfsError> {
        let merged = mount::bind(root_path)?;
        let upper = File::open(upper).map_err(file("open", upper))?;
        let spill = || self.spill();
        changes::bring_in(upper.as_fd(), merged.as_fd(), snapshot.as_fd(), &spill)
            .map(drop)
            .map_err(|source| {
                let id = id.to_owned();
                // It is larger than bases are.
                match source.source == Errno::NOSPC {
                    true => NotShared::BringIn { id, source }.into(),
                    false => RootfsError::BringIn { id, source },
                }
            })
    }
}

/// A directory of the file system that has the upper directory, as high as an engine's store goes. An engine can limit one
/// container's directories by a quota, and statvfs(3) there tells of the quota.
fn store_of(upper: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let device = rustix::fs::lstat(upper).ok()?.st_dev;
    let open = |dir: &Path| rustix::fs::open(dir, flags, Mode::empty()).ok();
    let is_same = |dir: &OwnedFd| rustix::fs::fstat(dir).is_ok_and(|found| found.st_dev == device);
    upper.ancestors().take(3).filter_map(open).filter(is_same).last()
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
