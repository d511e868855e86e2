//! Which files of a snapshot's file system have blocks that were written after the snapshot was taken.
//!
//! The change time does not tell this after a power cut. fdatasync(2), O_DSYNC and msync(2) put overwritten bytes on the disk
//! and leave the new times of the inode to the journal's next commit, up to five seconds later (`ext4_fsync_journal`: with
//! `datasync`, only a transaction that changed more than times is waited for). Without that commit the file has the container's
//! bytes and the base's times. A change of anything but the bytes of existing blocks is in one transaction with the time.

use std::ops::Range;
use std::os::fd::AsFd;

use sharedroot_sys::extents::any_at;

/// The parts of a snapshot's device that were written since the snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(Vec<Range<u64>>);

impl Written {
    /// `ranges` are in bytes.
    #[must_use]
    pub fn new(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.start);
        Self(ranges)
    }

    /// Whether the container may have written the content of this regular file. Where nobody can tell, the answer is yes, and
    /// the file is compared.
    pub(super) fn has(&self, file: impl AsFd) -> bool {
        any_at(file, |place| self.meets(&place)).unwrap_or(true)
    }

    fn meets(&self, place: &Range<u64>) -> bool {
        // The ranges do not overlap, so the last of those that begin before the end of the place ends last, too.
        let before = self.0.partition_point(|range| range.start < place.end);
        self.0[..before].last().is_some_and(|range| range.end > place.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_meets_what_shares_a_byte_with_it(
            pieces in prop::collection::btree_set(0_u64..40, 0..20), start in 0_u64..40, length in 0_u64..8
        ) {
            let written = Written::new(pieces.iter().rev().map(|at| *at..at + 1).collect());
            let place = start..start + length;
            prop_assert_eq!(written.meets(&place), place.clone().any(|at| pieces.contains(&at)));
        }
    }
}
