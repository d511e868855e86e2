//! How long the starts of containers took: the notes of `create` and `start` joined, by base.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sharedroot_format::BaseKey;

use crate::starts::{Note, Step};

/// The durations of starts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// The number of starts.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The duration that the given percentage of the starts did not exceed: the nearest rank. `None` without starts.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied()
    }
}

/// The starts on each base; the key `None` stands for the engine's rootfs. A start is the time of a `create` and of the `start`
/// that came after it. A container that waits for its `start` does not count yet.
pub fn by_base(notes: Vec<Note>) -> BTreeMap<Option<BaseKey>, Latencies> {
    let mut waiting = HashMap::new();
    let mut found = BTreeMap::<_, Latencies>::new();
    let mut add = |base, took| found.entry(base).or_default().sorted.push(took);
    for Note { step, took, container, .. } in notes {
        match step {
            Step::Create(base) => {
                waiting.insert(container, (base, took));
            }
            Step::Whole(base) => add(base, took),
            // The `create` of this `start` may be older than the notes.
            Step::Start => {
                if let Some((base, create)) = waiting.remove(&container) {
                    add(base, create + took);
                }
            }
            Step::Failed(_) => {}
        }
    }
    found.values_mut().for_each(|of| of.sorted.sort_unstable());
    found
}

#[cfg(test)]
mod tests {
    use sharedroot_sys::process_start::Moment;

    use super::*;

    fn note(step: Step, millis: u64, container: &str) -> Note {
        let took = Duration::from_millis(millis);
        Note { step, at: Moment::of_nanos(0), took, container: container.to_owned() }
    }

    #[test]
    fn a_start_is_a_create_and_its_start() {
        let base = Some(crate::testing::key());
        let create = |millis, container| note(Step::Create(base.clone()), millis, container);
        let start = |millis, container| note(Step::Start, millis, container);
        let found = by_base(vec![
            start(1, "older"),
            create(10, "a"),
            create(20, "b"),
            start(2, "b"),
            start(1, "a"),
            create(5, "a"), // a second `create`
            start(1, "a"),
            create(40, "waits"),
            note(Step::Create(None), 7, "given"),
            start(1, "given"),
            note(Step::Whole(None), 3, "of crun"),
        ]);
        let millis = |of: &Latencies| of.sorted.iter().map(Duration::as_millis).collect::<Vec<_>>();
        assert_eq!(millis(&found[&base]), [6, 11, 22]);
        assert_eq!(millis(&found[&None]), [3, 8]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |millis: std::ops::RangeInclusive<u64>| Latencies {
            sorted: millis.map(Duration::from_millis).collect(),
        };
        let percentile = |of: &Latencies, percent| of.percentile(percent).map(|d| d.as_millis());
        assert_eq!(percentile(&of(1..=100), 50), Some(50));
        assert_eq!(percentile(&of(1..=100), 99), Some(99));
        assert_eq!(percentile(&of(1..=3), 50), Some(2));
        assert_eq!(percentile(&of(1..=3), 99), Some(3));
        assert_eq!(percentile(&of(7..=7), 50), Some(7));
        assert_eq!(Latencies::default().percentile(50), None);
    }
}
