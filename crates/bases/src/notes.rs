//! The notes of snapshots, durable: beside the store, a file for each.
//!
//! The records are under `/run` and end with the host's uptime; a snapshot does not. So that nothing
//! which a container wrote is lost by a power cut, a note lies beside the store from before the
//! snapshot is taken until its changes are the engine's. A snapshot without a note has nothing to
//! give back.

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

/// What follows the volume in the name of its note.
const NOTE: &str = ".json";
/// What comes before it in the name of the file with the change times of its upper directory.
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
    /// Those in `state_dir`, which only root can write.
    pub(crate) fn below(state_dir: &'b Path) -> Self {
        Self { state_dir }
    }

    fn path(&self, volume: &VolumeName) -> PathBuf {
        self.state_dir.join(format!("{volume}{NOTE}"))
    }

    /// Writes the note, whole or not at all, and brings it to the disk: what it says decides which of two trees is the newer one.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write(&self, volume: &VolumeName, note: &Note) -> Result<(), RootfsError> {
        private_dir(self.state_dir)?;
        let path = self.path(volume);
        let text = serde_json::to_vec(note).map_err(io::Error::other);
        text.and_then(|text| new_file::write_durably(&path, &text)).map_err(file("write", &path))
    }

    /// The note of a snapshot; none if it has nothing to give back.
    ///
    /// # Errors
    /// [`RootfsError::File`], also for a file that is no note.
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

    /// Notes that the snapshot is the container's root at its next start.
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

    /// Notes, for good, that changes go to the engine and the container goes on: the upper directory is not what it was.
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

    /// The volumes that have a file beside the store, also one that was begun only: a note, or change times, which are written
    /// before the note is.
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

    /// Removes what a killed process left of a volume whose note and times are gone, or were never whole.
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

    /// Removes the note, and the notice that it names; that they are gone is no error.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn remove(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        let noticed = |note: &Note| note.notice.is_some() && !note.is_obsolete();
        // One that cannot be read goes, too.
        if let Some(mut note) = self.read(volume).unwrap_or(None).filter(noticed) {
            // The overlay is mounted while its container starts or runs only, and nobody gives up its snapshot then.
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

    /// Puts a notice into the overlay `merged` of the container of `note`, which gets its name.
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
                // The container has a file of that name.
                Err(Errno::EXIST) => name = notice::another(&name),
                // Where the index of a directory is full, most parts of it still have room for some names.
                Err(Errno::NOSPC) if tries > 0 => {
                    tries -= 1;
                    name = notice::another(&name);
                }
                Err(errno) => return Err(notice::failed("make", note, &name)(errno)),
            }
        }
    }

    /// The same after a write-back that left something out. Where the top has no room for a name, it was the container that
    /// filled it: that keeps no container from its end, so a warning has to do.
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
                tracing::warn!(
                    "the overlay at {} lacks files, and nothing there says so: {}",
                    note.root_path.display(),
                    chain(&error)
                );
                Ok(())
            }
            put => put,
        }
    }
}

pub(super) fn remove(path: &Path) -> Result<(), RootfsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}
