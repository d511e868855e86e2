//! How many files an image may make of its layers.

use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, invalid};

/// How many entries all layers of an image may have, with the directories that no entry names. An entry takes up to 50 µs, and
/// the files of all layers are on the disk at once.
pub(super) const MOST_ENTRIES: u64 = 1 << 22;

/// Counts the entries of an image, and the bytes of its files.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u64,
    entries: u64,
    most_bytes: u64,
    bytes: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::bounded(MOST_ENTRIES)
    }
}

impl Allowance {
    pub(super) fn bounded(most: u64) -> Self {
        Self { most, entries: 0, most_bytes: u64::MAX, bytes: 0 }
    }

    /// The usual number of entries, whose files have at most `most` bytes together. Holes count: they are neither stored nor
    /// unpacked, but the digest of the tree is made of every byte, as is whatever reads the files later.
    pub(super) fn of_bytes(most: u64) -> Self {
        Self { most_bytes: most, ..Self::default() }
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

    /// Counts the bytes of a regular file.
    pub(super) fn add_file(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > self.most_bytes {
            return Err(invalid(
                entry,
                "makes the files of all layers too large, with their holes",
            ));
        }
        Ok(())
    }

    /// Whether the files had more bytes, so that an error of a layer says only this.
    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes > self.most_bytes
    }
}
