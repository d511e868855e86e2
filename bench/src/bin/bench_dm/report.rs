//! The figures, as a Markdown table for people and as JSON for the next comparison.

use std::fmt::Write;

use serde_json::{Value, json};

use sharedroot_bench::{
    Samples, TOTAL, Target, Times, machine, steps_table, targets_json, targets_table,
};

use crate::growth::Growth;
use crate::idle::Idle;

/// The figures of one run.
#[derive(Debug, Default)]
pub struct Report {
    pub cycles: Samples,
    /// The time of a call of ctr that does nothing.
    pub ctr: Option<Times>,
    pub growth: Option<Growth>,
    pub idle: Option<Idle>,
}

const DISCARD: &str = "raw, with discard";
const OURS: &str = "ours";
const EACH: &str = "ours, opened each time";

impl Report {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.steps(&mut text);
        text.push_str(&targets_table(&self.targets()));
        text
    }

    fn steps(&self, text: &mut String) {
        text.push_str(&steps_table("ms in the lab", &self.cycles));
        if let Some(ctr) = &self.ctr {
            let (median, p99) = (ctr.median(), ctr.p99());
            write!(text, "\nA call of ctr that does nothing: {median:.2} ({p99:.2}) ms.")
                .expect("a string grows");
        }
        if let Some(growth) = &self.growth {
            write!(
                text,
                "\nReconcile with {} mounted snapshots: {:.2} ms.",
                growth.snapshots,
                growth.reconcile.median()
            )
            .expect("a string grows");
        }
        text.push_str("\n\n");
    }

    fn total(&self, arm: &str, operation: &str) -> &Times {
        self.cycles.get(arm, operation, TOTAL).expect("every round has both operations")
    }

    fn targets(&self) -> Vec<Target> {
        let mut all = Vec::new();
        let ratio = |what, ours, peer, most| Target::ratio(what, ours, peer, most, "ms");
        let raw = self.total("raw", "ready").median();
        for arm in [OURS, EACH] {
            let ours = self.total(arm, "ready").median();
            all.push(ratio(format!("rootfs ready, {arm}, to raw"), ours, raw, 2.0));
        }
        if let Some(ctr) = &self.ctr {
            let ours = self.total(EACH, "ready").median();
            let theirs = self.total("containerd", "ready").median();
            let what = |how| format!("rootfs ready, {EACH}, to containerd{how}");
            all.push(ratio(what(""), ours, theirs, 0.5));
            all.push(ratio(what(" without a bare call of ctr"), ours, theirs - ctr.median(), 0.5));
        }
        for arm in [OURS, EACH] {
            for peer in ["raw", DISCARD] {
                let (ours, raw) = (self.total(arm, "delete"), self.total(peer, "delete"));
                all.push(ratio(
                    format!("delete p99, {arm}, to {peer}"),
                    ours.p99(),
                    raw.p99(),
                    1.0,
                ));
                let what = format!("delete median, {arm}, to {peer}");
                all.push(ratio(what, ours.median(), raw.median(), 1.0));
            }
        }
        all.extend(self.growth.iter().flat_map(growth_targets));
        all.extend(self.idle.iter().map(idle_target));
        all
    }

    /// Every figure, and facts about the guest.
    pub fn json(&self) -> Value {
        json!({
            "guest": machine(),
            "targets": targets_json(&self.targets()),
            "cycles_milliseconds": self.cycles.json(),
            "ctr_alone_median": self.ctr.as_ref().map(Times::median),
            "growth": self.growth.as_ref().map(Growth::json),
            "idle": self.idle.as_ref().map(Idle::json),
        })
    }
}

fn growth_targets(growth: &Growth) -> Vec<Target> {
    let mut all = Vec::new();
    let parts = [("active", &growth.active), ("mounted", &growth.mounted)];
    for (state, part) in parts {
        let (first, last) = part.ends(OURS);
        let (raw_first, raw_last) = part.ends("raw");
        all.push(Target {
            what: format!("ready, last to first of {} {state}, ours", growth.snapshots),
            found: format!(
                "{:.2} ({last:.2} to {first:.2} ms); raw {:.2}",
                last / first,
                raw_last / raw_first
            ),
            target: "≤ 1.2".to_owned(),
            met: last <= 1.2 * first,
        });
    }
    for (state, part) in parts {
        let p99 = |arm| part.times.get(arm, "delete", TOTAL).expect("both arms deleted").p99();
        let (ours, raw) = (p99(OURS), p99("raw"));
        all.push(Target {
            what: format!("delete p99 among {} {state}, ours to raw", growth.snapshots),
            found: format!("{:.2} ({ours:.2} to {raw:.2} ms)", ours / raw),
            target: "≤ 1".to_owned(),
            met: ours <= raw,
        });
        let [raw, ours] = part.metadata;
        all.push(Target {
            what: format!("metadata per {state} snapshot, ours"),
            found: format!("{:.1} KiB; raw {:.1} KiB", ours / 1024.0, raw / 1024.0),
            target: "≤ 16 KiB".to_owned(),
            met: ours <= 16384.0,
        });
    }
    all.push(Target {
        what: "peak memory of a process".to_owned(),
        found: format!("{:.1} MB", growth.peak_kib as f64 * 1024.0 / 1e6),
        target: "< 20 MB".to_owned(),
        met: growth.peak_kib * 1024 < 20_000_000,
    });
    all
}

fn idle_target(idle: &Idle) -> Target {
    let (ours, docker) = (idle.ours.unmounted, idle.docker.unmounted);
    let kib = |bytes: f64| bytes / 1024.0;
    Target {
        what: format!("pool data of a container idle for {} s, to Docker's settings", idle.seconds),
        found: format!("{:.2} ({:.0} to {:.0} KiB)", ours / docker, kib(ours), kib(docker)),
        target: "≤ 0.5".to_owned(),
        met: ours <= 0.5 * docker,
    }
}
