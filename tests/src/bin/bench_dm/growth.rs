//! Phase 2: many snapshots, kept and mounted. Does one more cost more, what does each take, and what does looking after
//! them cost?

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::cycles::Arm;
use crate::kernel::Used;
use crate::memory;
use crate::mounts::drop_caches;
use crate::ours::Ours;
use crate::raw::Raw;
use crate::samples::{Samples, TOTAL, Times};

/// How many snapshots at either end are compared.
const END: usize = 100;

/// What the phase found.
#[derive(Debug)]
pub struct Growth {
    pub snapshots: usize,
    /// Making and deleting each of them, in order.
    pub times: Samples,
    /// By arm: bytes of metadata per snapshot that is active and not mounted, and of one that is mounted.
    pub metadata: Vec<(&'static str, f64, f64)>,
    /// `Pool::reconcile` with all of them mounted.
    pub reconcile: Times,
    /// The peak of a process that uses the pool once, in KiB.
    pub peak_kib: u64,
}

pub fn run(raw: &mut Raw, ours: &mut Ours, snapshots: usize) -> Growth {
    drop_caches();
    let idle = idle_metadata(raw, ours);

    let before = used(raw, ours);
    let mut times = Samples::default();
    for number in 0..snapshots {
        for arm in [&mut *raw as &mut dyn Arm, &mut *ours] {
            let mut clock = Clock::default();
            arm.ready(number, true, &mut clock);
            times.file(arm.name(), "ready", &clock);
        }
    }
    rustix::fs::sync();
    let metadata = per_snapshot(before, used(raw, ours), snapshots);

    let mut reconcile = Times::default();
    for _ in 0..10 {
        let mut clock = Clock::default();
        let report = clock.step("reconcile", || ours.opened().reconcile(false));
        let report = report.expect("reconcile");
        assert!(report.is_clean(), "nothing is to be reconciled: {report}");
        reconcile.push(clock.total());
    }
    let peak_kib = memory::peak_of_child(ours.state());

    for number in 0..snapshots {
        for arm in [&mut *raw as &mut dyn Arm, &mut *ours] {
            let mut clock = Clock::default();
            arm.delete(number, true, &mut clock);
            times.file(arm.name(), "delete", &clock);
        }
    }
    let metadata = vec![("raw", idle[0], metadata[0]), ("ours", idle[1], metadata[1])];
    Growth { snapshots, times, metadata, reconcile, peak_kib }
}

/// Bytes of metadata per snapshot that is active and nothing more; of the raw arm and of ours.
fn idle_metadata(raw: &mut Raw, ours: &mut Ours) -> [f64; 2] {
    let before = used(raw, ours);
    let mut unused = Clock::default();
    for number in 0..END {
        raw.ready(number, false, &mut unused);
        ours.ready(number, false, &mut unused);
    }
    let idle = per_snapshot(before, used(raw, ours), END);
    for number in 0..END {
        raw.delete(number, false, &mut unused);
        ours.delete(number, false, &mut unused);
    }
    idle
}

fn used(raw: &Raw, ours: &Ours) -> [Used; 2] {
    [raw.pool(), ours.pool()].map(|pool| raw.kernel.used(&pool))
}

fn per_snapshot(before: [Used; 2], after: [Used; 2], snapshots: usize) -> [f64; 2] {
    [0, 1].map(|arm: usize| {
        (after[arm].metadata - before[arm].metadata) as f64 * 4096.0 / snapshots as f64
    })
}

impl Growth {
    /// The medians of the first and of the last hundred (or half, of fewer), of one operation.
    pub fn ends(&self, arm: &str, operation: &str) -> (f64, f64) {
        let times = self.times.get(arm, operation, TOTAL).expect("both arms have both operations");
        let end = END.min(self.snapshots / 2).max(1);
        let last = self.snapshots - end..self.snapshots;
        (times.part(0..end).median(), times.part(last).median())
    }

    pub fn json(&self) -> Value {
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .map(|(arm, idle, mounted)| json!({"arm": arm, "active": idle, "mounted": mounted}))
            .collect();
        json!({
            "snapshots": self.snapshots,
            "milliseconds": self.times.json(),
            "metadata_bytes_per_snapshot": metadata,
            "reconcile_median": self.reconcile.median(),
            "peak_kib": self.peak_kib,
        })
    }
}
