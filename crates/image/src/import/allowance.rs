//! How many files, with how much beside them, an image may make of its layers.

use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, invalid};

/// How many entries all layers of an image may have, with the directories that no entry names. An entry takes up to 50 µs, and
/// the files of all layers are on the disk at once.
pub(super) const MOST_ENTRIES: u64 = 1 << 22;

/// How many extended attributes all layers may have together. Each takes a call, and often a block of the disk.
const MOST_ATTRIBUTES: u64 = 1 << 20;
/// How many extents all sparse files may have together. Each takes up to 20 µs.
const MOST_EXTENTS: u64 = 1 << 22;

/// Counts the entries of an image, and the bytes of its files.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u64,
    entries: u64,
    pub(super) attributes: Bounded,
    pub(super) extents: Bounded,
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
        Self {
            most,
            entries: 0,
            attributes: Bounded::new("attributes", MOST_ATTRIBUTES),
            extents: Bounded::new("extents of sparse files", MOST_EXTENTS),
            most_bytes: u64::MAX,
            bytes: 0,
        }
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

    /// Counts what an entry, or a directory on the way to it, has beside its content.
    pub(super) fn add_parts(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.attributes.add(entry, entry.xattrs.len())?;
        self.extents.add(entry, entry.extents.as_ref().map_or(0, Vec::len))
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

/// Things that all layers together may have a number of.
#[derive(Debug)]
pub(super) struct Bounded {
    what: &'static str,
    pub(super) most: u64,
    count: u64,
}

impl Bounded {
    fn new(what: &'static str, most: u64) -> Self {
        Self { what, most, count: 0 }
    }

    fn add(&mut self, entry: &Entry, more: usize) -> Result<(), UnpackError> {
        self.count = self.count.saturating_add(more as u64);
        if self.count > self.most {
            let Self { what, most, .. } = self;
            return Err(invalid(
                entry,
                format!("has {what} beyond the {most} that all layers may have"),
            ));
        }
        Ok(())
    }
}
