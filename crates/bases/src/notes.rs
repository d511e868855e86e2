//! The notes of snapshots: durable files beside the store, one for each snapshot.
//!
//! The records are under `/run` and end with the host's uptime; a snapshot does not. A power cut must not lose what a container
//! wrote. So before a snapshot is taken, a note is written beside the store, and the note stays until the engine has the
//! snapshot's changes. A snapshot without a note has nothing to give back.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sharedroot_dm::VolumeName;
use sharedroot_sys::chain::chain;
use sharedroot_sys::new_file::{self, BEGUN};
use sharedroot_sys::private_dir::private_dir;

use crate::bases::Bases;
use crate::changes::LeftOut;
use crate::error::{RootfsError, file};
use crate::note::{Note, OnlyHere, named};
use crate::notice::{self, take_notice};

/// The end of a note's file name, after the volume's name.
const NOTE: &str = ".json";
/// The beginning of the name of the file with the change times of a snapshot's upper directory.
pub(super) const TIMES: &str = "times-";

/// The notes in one state directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notes<'b> {
    pub(super) state_dir: &'b Path,
}

impl Bases {
    /// The notes of snapshots.
    pub(crate) fn notes(&self) -> Notes<'_> {
        Notes::below(self.state_dir())
    }
}

impl<'b> Notes<'b> {
    /// The notes in `state_dir`, which only root can write.
    pub(crate) fn below(state_dir: &'b Path) -> Self {
        Self { state_dir }
    }

    fn path(&self, volume: &VolumeName) -> PathBuf {
        self.state_dir.join(format!("{volume}{NOTE}"))
    }

    /// Writes the whole note or nothing, and syncs it to the disk: the note decides which of two trees is newer.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write(&self, volume: &VolumeName, note: &Note) -> Result<(), RootfsError> {
        private_dir(self.state_dir)?;
        let path = self.path(volume);
        let text = serde_json::to_vec(note).map_err(io::Error::other);
        text.and_then(|text| new_file::write_durably(&path, &text)).map_err(file("write", &path))
    }

    /// The note of a snapshot; none if the snapshot has nothing to give back.
    ///
    /// # Errors
    /// [`RootfsError::File`], also if the file is no note.
    pub(super) fn read(&self, volume: &VolumeName) -> Result<Option<Note>, RootfsError> {
        let path = self.path(volume);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| file("read the note", &path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read the note", &path)(error)),
        }
    }

    /// Records that the snapshot is the container's root at its next start.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write_left_out(
        &self,
        volume: &VolumeName,
        left_out: &LeftOut,
    ) -> Result<(), RootfsError> {
        let Some(note) = self.read(volume)? else { return Ok(()) };
        tracing::warn!(
            "{} files of container {} cannot be in its engine's overlay: {}; they stay in {volume}, which is its root at its next \
             start; `sharedroot pool drop {volume}` gives them up",
            left_out.count,
            note.id,
            named(left_out)
        );
        self.write_times(volume, &note.upper)?;
        let only_here = Some(OnlyHere::now(left_out));
        self.write(volume, &Note { only_here, ..note })
    }

    /// Records permanently that changes go to the engine while the container goes on: the kept state of the upper directory is
    /// no longer true.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write_giving_back(
        &self,
        volume: &VolumeName,
        note: Note,
    ) -> Result<(), RootfsError> {
        if note.given_back && note.upper_then.is_none() {
            return Ok(());
        }
        self.write(volume, &Note { given_back: true, upper_then: None, ..note })
    }

    /// The volumes that have a note.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn volumes(&self) -> Result<Vec<VolumeName>, RootfsError> {
        self.volumes_by(|name| name.strip_suffix(NOTE))
    }

    /// The volumes that have a file beside the store, also an unfinished file: a note, or change times, which are written
    /// before the note.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn volumes_with_files(&self) -> Result<Vec<VolumeName>, RootfsError> {
        let mut found = self.volumes_by(|name| {
            let name = name.strip_suffix(BEGUN).unwrap_or(name);
            name.strip_prefix(TIMES).or_else(|| name.strip_suffix(NOTE))
        })?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn volumes_by(
        &self,
        volume: impl Fn(&str) -> Option<&str>,
    ) -> Result<Vec<VolumeName>, RootfsError> {
        let dir = self.state_dir;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(file("list", dir))? {
            let name = entry.map_err(file("list", dir))?.file_name();
            let name = name.to_str().and_then(|name| volume(name)?.parse().ok());
            found.extend(name.filter(VolumeName::is_snapshot));
        }
        Ok(found)
    }

    /// Removes what a killed process left of a volume that has no note and no times, or only unfinished files of them.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn remove_files(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        for path in [self.times_path(volume), self.path(volume)] {
            let mut begun = path.into_os_string();
            begun.push(BEGUN);
            remove(Path::new(&begun))?;
        }
        self.remove(volume)
    }

    /// Removes the note, and the notice that it names. A missing file is no error.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn remove(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        let noticed = |note: &Note| note.notice.is_some() && !note.is_obsolete();
        // A note that cannot be read is removed, too.
        if let Some(mut note) = self.read(volume).unwrap_or(None).filter(noticed) {
            // The overlay is mounted only while its container starts or runs, and nobody gives up the snapshot then.
            let upper = note.upper.clone();
            match fs::File::open(&upper) {
                Ok(tree) => take_notice(&mut note, tree)?,
                // The engine's store is not mounted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(
                        "a notice of container {} stays in {}",
                        note.id,
                        upper.display()
                    );
                }
                Err(error) => return Err(file("open", &upper)(error)),
            }
        }
        remove(&self.times_path(volume))?;
        remove(&self.path(volume))
    }

    /// Puts a notice into the overlay `merged` of the container of `note`, and records the notice's name in `note`.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    fn put_notice(
        &self,
        volume: &VolumeName,
        note: &mut Note,
        merged: impl AsFd,
    ) -> Result<(), RootfsError> {
        let mut name = format!(
            "sharedroot: this tree lacks files that are only in the snapshot {volume} of its container"
        );
        let mut tries = 16;
        loop {
            note.notice = Some(name.clone());
            self.write(volume, note)?;
            match notice::put(merged.as_fd(), &name) {
                Ok(()) => return Ok(()),
                // The container has a file of this name.
                Err(Errno::EXIST) => name = notice::another(&name),
                // Where the index of a directory is full, most parts of the index still have room for some names.
                Err(Errno::NOSPC) if tries > 0 => {
                    tries -= 1;
                    name = notice::another(&name);
                }
                Err(errno) => return Err(notice::failed("make", note, &name)(errno)),
            }
        }
    }

    /// Puts a notice after a write-back that left something out. If the top of the overlay has no room for a name, the
    /// container has filled it. A container must not be able to prevent its own end, so then there is only a warning.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn put_notice_or_warn(
        &self,
        volume: &VolumeName,
        note: &mut Note,
        merged: impl AsFd,
    ) -> Result<(), RootfsError> {
        let no_room = |error: &RootfsError| {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            matches!(error, RootfsError::File { source, .. } if [StorageFull, QuotaExceeded].contains(&source.kind()))
        };
        match self.put_notice(volume, note, merged) {
            Err(error) if no_room(&error) => {
                warn_without_notice(note, &error);
                Ok(())
            }
            put => put,
        }
    }

    /// Puts a notice back that was removed for work that then failed. The work's failure is the one to report, so that of the
    /// notice is only a warning.
    pub(super) fn put_notice_back(&self, volume: &VolumeName, note: &mut Note, merged: impl AsFd) {
        if let Err(error) = self.put_notice_or_warn(volume, note, merged) {
            warn_without_notice(note, &error);
        }
    }
}

fn warn_without_notice(note: &Note, error: &RootfsError) {
    let overlay = note.root_path.display();
    tracing::warn!(
        "the overlay at {overlay} lacks files, and nothing there says so: {}",
        chain(error)
    );
}

pub(super) fn remove(path: &Path) -> Result<(), RootfsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}
