//! The sums of all notes since the host booted, including notes that are no longer kept, for `sharedroot metrics`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sharedroot_sys::new_file;

use super::{Note, Step};

/// The upper bounds of the classes of a [`Histogram`], in milliseconds.
pub const BOUNDS: [u64; 11] = [5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 20_000, 60_000];

/// How many commands took how long, in classes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// For each of [`BOUNDS`]: how many commands took no longer than this bound, and longer than the bound before. The last
    /// number counts the commands that took longer than all bounds.
    counts: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let class = BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.counts[class.unwrap_or(BOUNDS.len())] += 1;
        self.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }

    /// For each of [`BOUNDS`]: how many commands took no longer than this bound. The last number counts all commands.
    pub fn cumulated(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// The total time of all commands.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

/// The sums of all notes of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// `create` on bases.
    pub on_bases: Histogram,
    /// `create` on the engine's rootfs, not shared.
    #[serde(alias = "as_given")]
    pub not_shared: Histogram,
    /// `start`.
    pub started: Histogram,
    /// How many commands failed, by their verb.
    pub failed: BTreeMap<String, u64>,
}

impl Totals {
    /// The sums that an earlier process wrote; zeros if they cannot be read, as after an update with another format.
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        new_file::write_own(path, &serde_json::to_vec(self)?)
    }
}

impl Extend<Note> for Totals {
    fn extend<I: IntoIterator<Item = Note>>(&mut self, notes: I) {
        for Note { step, took, .. } in notes {
            match step {
                Step::Create(Some(_)) | Step::Whole(Some(_)) => self.on_bases.add(took),
                Step::Create(None) | Step::Whole(None) => self.not_shared.add(took),
                Step::Start => self.started.add(took),
                Step::Failed(verb) => *self.failed.entry(verb).or_default() += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_below_its_bounds() {
        let mut histogram = Histogram::default();
        for millis in [1, 5, 6, 700, 70_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let counts: Vec<_> = histogram.cumulated().collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5]);
        assert_eq!(histogram.sum(), Duration::from_millis(70_712));
    }

    #[test]
    fn the_sums_of_the_release_before_are_read() {
        let mut totals = Totals::default();
        totals.not_shared.add(Duration::from_millis(7));
        let text = serde_json::to_string(&totals).unwrap();
        assert!(text.contains("not_shared"), "{text}");
        let old: Totals = serde_json::from_str(&text.replace("not_shared", "as_given")).unwrap();
        assert_eq!(old, totals);
    }
}
