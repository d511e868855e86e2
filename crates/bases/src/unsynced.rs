//! Write-backs that are not on the disk yet.
//!
//! A write-back compares two trees, and writes nothing where they are equal. So a write-back that is repeated after a kill finds
//! nothing to do where the killed one did it, and must sync the disk all the same. After a sync that failed, the page cache has
//! content that the disk lacks: a comparison sees no difference, and a second sync reports no error. So there is a file below
//! `/run` from before the first change until the sync. The end of the host ends this file together with the page cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sharedroot_dm::VolumeName;

/// The ends of the file's name, until the sync and after a sync that failed.
const UNSYNCED: &str = "unsynced";
const LOST: &str = "lost";

/// What the last write-back left.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Changes that may not be on the disk.
    Unsynced,
    /// Changes that the disk did not take.
    Lost,
}

/// The write-back of one volume.
#[derive(Debug)]
pub(crate) struct Unsynced {
    path: PathBuf,
    left: Left,
}

impl Unsynced {
    /// Begins a write-back.
    ///
    /// # Errors
    /// The file below `run_dir` cannot be read or made.
    pub(crate) fn begin(run_dir: &Path, volume: &VolumeName) -> io::Result<Self> {
        let path = path(run_dir, volume, UNSYNCED);
        let left = match fs::exists(path.with_extension(LOST))? {
            true => Left::Lost,
            false if fs::exists(&path)? => Left::Unsynced,
            false => Left::Nothing,
        };
        if left == Left::Nothing {
            fs::File::create_new(&path)?;
        }
        Ok(Self { path, left })
    }

    /// Whether the disk did not take what an earlier write-back wrote.
    pub(crate) fn is_lost(&self) -> bool {
        self.left == Left::Lost
    }

    /// Ends a write-back that made `changes`. Calls `sync` if anything may not be on the disk.
    ///
    /// # Errors
    /// The error of `sync`: from now on [`Self::is_lost`] is true.
    pub(crate) fn end<E>(
        self,
        changes: u64,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if changes > 0 || self.left == Left::Unsynced {
            // A rename needs no room in `/run`.
            let lost = || fs::rename(&self.path, self.path.with_extension(LOST));
            sync().inspect_err(|_| note("record a failed sync in", lost()))?;
        }
        // A file that stays costs one more sync.
        note("remove", fs::remove_file(&self.path));
        Ok(())
    }

    /// Forgets what an earlier volume of this name left.
    pub(crate) fn forget(run_dir: &Path, volume: &VolumeName) {
        for end in [UNSYNCED, LOST] {
            match fs::remove_file(path(run_dir, volume, end)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => note("remove", done),
            }
        }
    }
}

fn path(run_dir: &Path, volume: &VolumeName, end: &str) -> PathBuf {
    run_dir.join(format!("{volume}.{end}"))
}

fn note(step: &str, done: io::Result<()>) {
    if let Err(error) = done {
        tracing::warn!("{step} the mark of a write-back: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_may_not_be_on_the_disk_is_synced_and_what_the_disk_refused_stays_refused() {
        let dir = tempfile::tempdir().unwrap();
        let volume: VolumeName = "private-1".parse().unwrap();
        let begin = || Unsynced::begin(dir.path(), &volume).unwrap();
        let syncs = Cell::new(0);
        let sync = || -> Result<(), ()> {
            syncs.set(syncs.get() + 1);
            Ok(())
        };
        for (changes, wanted) in [(0, 0), (3, 1), (0, 1)] {
            begin().end(changes, sync).unwrap();
            assert_eq!(syncs.get(), wanted, "{changes}");
        }
        // Killed before its sync.
        drop(begin());
        begin().end(0, sync).unwrap();
        assert_eq!(syncs.get(), 2);
        begin().end(0, sync).unwrap();
        assert_eq!(syncs.get(), 2);

        assert!(!begin().is_lost());
        assert_eq!(begin().end(0, || Err("the disk's error")), Err("the disk's error"));
        assert!(begin().is_lost() && begin().is_lost());
        Unsynced::forget(dir.path(), &volume);
        assert!(!begin().is_lost());
    }
}
