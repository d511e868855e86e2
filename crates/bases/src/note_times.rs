//! The change times of an upper directory, in a file beside the note of its container's snapshot: what has another one at the
//! next start came there meanwhile.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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

    /// Keeps the change times of the engine's upper directory: what has another one at the next start came there meanwhile.
    /// Without them, which is where there are too many, the clock has to tell.
    pub(super) fn write_times(&self, volume: &VolumeName, upper: &Path) -> Result<(), RootfsError> {
        let path = self.times_path(volume);
        match times_below(upper)? {
            // The note that is written next brings the name to the disk.
            Some(times) => {
                new_file::write_synced(&path, &times.write().concat()).map_err(file("write", &path))
            }
            None => remove(&path),
        }
    }

    /// Keeps what the upper directory is like now, for the note, whose container is about to go on.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn keep_upper(
        &self,
        volume: &VolumeName,
        upper: &Path,
    ) -> Result<UpperThen, RootfsError> {
        // What is changed from here on is later.
        let time = now();
        self.write_times(volume, upper)?;
        Ok(UpperThen { time, empty: false })
    }

    /// What [`Self::keep_upper`] kept, with its time. None if it did not, or there is too much.
    pub(super) fn upper_then(
        &self,
        volume: &VolumeName,
        note: &Note,
    ) -> Option<(Times, (i64, i64))> {
        let then = note.upper_then?;
        let times = if then.empty { Some(Times::default()) } else { self.times_of(volume) };
        Some((times?, then.time))
    }

    /// Those that were kept, if they can be read.
    pub(super) fn times_of(&self, volume: &VolumeName) -> Option<Times> {
        fs::read(self.times_path(volume)).ok().map(|bytes| Times::read(&bytes))
    }
}

/// The change times of all that is in an upper directory. None if there is too much.
pub(super) fn times_below(upper: &Path) -> Result<Option<Times>, RootfsError> {
    let top = fs::File::open(upper).map_err(file("open", upper))?;
    Times::below(top.as_fd()).map_err(|errno| file("look at what is in", upper)(errno.into()))
}
