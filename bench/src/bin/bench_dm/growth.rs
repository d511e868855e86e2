//! Phase 2: many snapshots, kept and mounted: the cost of one more snapshot, the space of each snapshot, and the cost of a
//! reconcile.

use serde_json::{Value, json};
use sharedroot_bench::Clock;
use sharedroot_bench::{Samples, TOTAL, Times};

use crate::cycles::{Arm, Ready};
use crate::kernel::Used;
use crate::memory;
use crate::mounts::drop_caches;
use crate::ours::Ours;
use crate::raw::Raw;

/// How many snapshots at either end are compared.
const END: usize = 100;

/// What the phase found.
#[derive(Debug)]
pub struct Growth {
    pub snapshots: usize,
    /// Snapshots that are only active: the cost of the storage.
    pub active: Part,
    /// Mounted snapshots: the cost of the kernel's file systems is included.
    pub mounted: Part,
    /// `Pool::reconcile` with all of them mounted.
    pub reconcile: Times,
    /// The peak memory, in KiB, of a process that uses the pool once while all snapshots exist.
    pub peak_kib: u64,
}

/// One kind of snapshots, as many as the phase makes.
#[derive(Debug)]
pub struct Part {
    /// The times of creating and deleting each snapshot, in order.
    pub times: Samples,
    /// Bytes of metadata per snapshot: raw, ours.
    pub metadata: [f64; 2],
}

pub fn run(raw: &mut Raw, ours: &mut Ours, snapshots: usize) -> Growth {
    let active = part(raw, ours, snapshots, Ready::Active, |_| ());
    let (mut reconcile, mut peak_kib) = (Times::default(), 0);
    let mounted = part(raw, ours, snapshots, Ready::Mounted, |ours| {
        reconcile = time_reconcile(ours);
        peak_kib = memory::peak_of_child(ours.state());
    });
    Growth { snapshots, active, mounted, reconcile, peak_kib }
}

/// Creates all snapshots, while the arms take turns, calls `between`, and deletes all snapshots.
fn part(
    raw: &mut Raw,
    ours: &mut Ours,
    snapshots: usize,
    until: Ready,
    between: impl FnOnce(&Ours),
) -> Part {
    drop_caches();
    let before = used(raw, ours);
    let mut times = Samples::default();
    let mut file = |arm: &dyn Arm, operation, clock: Clock| {
        times.file(arm.name(), operation, &clock);
    };
    for number in 0..snapshots {
        for arm in [&mut *raw as &mut dyn Arm, &mut *ours] {
            let mut clock = Clock::default();
            arm.ready(number, until, &mut clock);
            file(arm, "ready", clock);
        }
    }
    rustix::fs::sync();
    let after = used(raw, ours);
    let metadata = [0, 1].map(|arm: usize| {
        (after[arm].metadata - before[arm].metadata) as f64 * 4096.0 / snapshots as f64
    });
    between(ours);
    for number in 0..snapshots {
        for arm in [&mut *raw as &mut dyn Arm, &mut *ours] {
            let mut clock = Clock::default();
            arm.delete(number, until, &mut clock);
            file(arm, "delete", clock);
        }
    }
    Part { times, metadata }
}

fn time_reconcile(ours: &Ours) -> Times {
    let mut times = Times::default();
    for _ in 0..10 {
        let mut clock = Clock::default();
        let report =
            clock.step("reconcile", || ours.opened().reconcile(sharedroot_dm::Reconcile::Apply));
        let report = report.expect("reconcile");
        assert!(report.is_clean(), "nothing is to be reconciled: {report}");
        times.push(clock.total());
    }
    times
}

fn used(raw: &Raw, ours: &Ours) -> [Used; 2] {
    [raw.pool(), ours.pool()].map(|pool| raw.kernel.used(&pool))
}

impl Part {
    /// The medians of creating the first and the last hundred snapshots; with fewer than two hundred, of the two halves.
    pub fn ends(&self, arm: &str) -> (f64, f64) {
        let times = self.times.get(arm, "ready", TOTAL).expect("both arms made snapshots");
        let end = END.min(times.len() / 2).max(1);
        (times.part(0..end).median(), times.part(times.len() - end..times.len()).median())
    }

    fn json(&self) -> Value {
        json!({
            "milliseconds": self.times.json(),
            "metadata_bytes_per_snapshot": {"raw": self.metadata[0], "ours": self.metadata[1]},
        })
    }
}

impl Growth {
    pub fn json(&self) -> Value {
        json!({
            "snapshots": self.snapshots,
            "active": self.active.json(),
            "mounted": self.mounted.json(),
            "reconcile_median": self.reconcile.median(),
            "peak_kib": self.peak_kib,
        })
    }
}
