//! How many files an image may make of its layers.

use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, invalid};

/// How many entries all layers of an image may have, with the directories that no entry names. An entry takes up to 50 µs, and
/// the files of all layers are on the disk at once.
pub(super) const MOST_ENTRIES: u64 = 1 << 22;

/// Counts the entries of an image.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u64,
    entries: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::bounded(MOST_ENTRIES)
    }
}

impl Allowance {
    pub(super) fn bounded(most: u64) -> Self {
        Self { most, entries: 0 }
    }

    /// Counts an entry, or a directory on the way to it.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.most {
            let most = self.most;
            return Err(invalid(entry, format!("is beyond the {most} that all layers may have")));
        }
        Ok(())
    }
}
