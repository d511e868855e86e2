//! The change times of an upper directory, in a file beside the note of its container's snapshot: what has another one at the
//! next start came there meanwhile.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sharedroot_dm::VolumeName;
use sharedroot_sys::new_file;

use crate::changes::Times;
use crate::error::{RootfsError, file};
use crate::note::{Note, UpperThen, now};
use crate::notes::{Notes, TIMES, remove};

impl Notes<'_> {
    pub(super) fn times_path(&self, volume: &VolumeName) -> PathBuf {
        self.state_dir.join(format!("{TIMES}{volume}"))
    }

    /// Keeps the change times of the engine's upper directory. A file with another time at the next start came there meanwhile.
    /// If there are too many files no times are kept, and only the clock tells which files are newer.
    pub(super) fn write_times(&self, volume: &VolumeName, upper: &Path) -> Result<(), RootfsError> {
        let path = self.times_path(volume);
        match self.times_below(upper)? {
            // The write of the note, which follows, syncs this file's name to the disk.
            Some(times) => {
                new_file::write_synced(&path, &times.write().concat()).map_err(file("write", &path))
            }
            None => remove(&path),
        }
    }

    /// Keeps the present state of the upper directory, for the note. The container is about to go on.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn keep_upper(
        &self,
        volume: &VolumeName,
        upper: &Path,
    ) -> Result<UpperThen, RootfsError> {
        // Every later change has a later time.
        let time = now();
        self.write_times(volume, upper)?;
        Ok(UpperThen { time, empty: false })
    }

    /// The state that [`Self::keep_upper`] kept, with its time. None if there is none, or if there were too many files.
    pub(super) fn upper_then(
        &self,
        volume: &VolumeName,
        note: &Note,
    ) -> Option<(Times, (i64, i64))> {
        let then = note.upper_then?;
        let times = if then.empty { Some(Times::default()) } else { self.times_of(volume) };
        Some((times?, then.time))
    }

    /// The change times that were kept, if they can be read.
    pub(super) fn times_of(&self, volume: &VolumeName) -> Option<Times> {
        fs::read(self.times_path(volume)).ok().map(|bytes| Times::read(&bytes))
    }

    /// The change times of all files in an upper directory. None if there are too many files.
    pub(super) fn times_below(&self, upper: &Path) -> Result<Option<Times>, RootfsError> {
        let top = fs::File::open(upper).map_err(file("open", upper))?;
        Times::below(top.as_fd(), &|| self.spill())
            .map_err(|errno| file("read the times of the files in", upper)(errno.into()))
    }

    /// An unnamed file, for what a walk does not keep in memory. The file is on the disk: below `/run` it would take memory.
    pub(super) fn spill(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::open(self.state_dir, flags, Mode::RUSR | Mode::WUSR)
    }
}
