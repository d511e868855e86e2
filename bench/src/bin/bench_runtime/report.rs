//! The figures, as Markdown tables for people and as JSON for the next comparison.

use std::fmt::Write;

use serde_json::{Value, json};
use sharedroot_bench::{
    CONTAINER, FLOOR, Samples, TOTAL, Target, Times, machine, steps_table, targets_json,
    targets_table,
};

use crate::crowd::{Crowd, FEW};
use crate::peaks::Peaks;
use crate::place::may_lock_memory;
use crate::runtime::{CRUN, NOT_SHARED, RUNC, SHARED};

/// The figures of one run.
#[derive(Debug)]
pub struct Report {
    pub cycles: Samples,
    pub floor: Samples,
    pub execs: Samples,
    pub peaks: Vec<Peaks>,
    pub own: Samples,
    pub crowd: Option<Crowd>,
}

impl Report {
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut table = |title: &str, samples: &Samples| {
            text.push_str(&steps_table(title, samples));
            text.push('\n');
        };
        table("ms", &self.cycles);
        table("ms, without a runtime", &self.floor);
        table("ms", &self.execs);
        table("ms, our own part", &self.own);
        if let Some(Crowd { mounts, few, many }) = &self.crowd {
            table(&format!("ms, {FEW} mounts on the host"), few);
            table(&format!("ms, {mounts} mounts on the host"), many);
        }
        text.push_str("| peak memory, kB |\n|---|\n");
        for Peaks { arm, commands } in &self.peaks {
            write!(text, "| {arm}:").expect("a string grows");
            commands
                .iter()
                .for_each(|(verb, kib)| write!(text, " {verb} {kib}").expect("a string grows"));
            text.push_str(" |\n");
        }
        text.push('\n');
        if !may_lock_memory() {
            text.push_str("Root may not raise RLIMIT_MEMLOCK here: no arm's configuration has linux.resources.\n\n");
        }
        text.push_str(&targets_table(&self.targets()));
        text
    }

    fn targets(&self) -> Vec<Target> {
        let whole = |arm| total(&self.cycles, arm, CONTAINER).median();
        let mut all = Vec::new();
        for (peer, most) in [(CRUN, 0.7), (RUNC, 0.4)] {
            for arm in [SHARED, NOT_SHARED] {
                let what = format!("create + start + wait + delete, {arm}, to {peer}");
                all.push(Target::ratio(what, whole(arm), whole(peer), most, "ms"));
            }
        }
        let floor = total(&self.floor, FLOOR, CONTAINER).median();
        all.push(Target {
            what: "create + start + wait + delete, ours, to the floor".to_owned(),
            found: format!("{:.2} ({:.2} to {floor:.2} ms)", whole(SHARED) / floor, whole(SHARED)),
            target: "told".to_owned(),
            met: true,
        });
        let exec = |arm| total(&self.execs, arm, "exec").median();
        all.push(Target::ratio(
            "exec, ours, to crun".to_owned(),
            exec(SHARED),
            exec(CRUN),
            1.0,
            "ms",
        ));
        let peak = |arm| self.peaks.iter().find(|p| p.arm == arm).map_or(0.0, |p| p.most() as f64);
        all.push(Target::ratio(
            "peak memory, ours, to crun".to_owned(),
            peak(SHARED),
            peak(CRUN),
            2.0,
            "kB",
        ));
        let create = |arm| step(&self.cycles, arm, "create").median();
        let added = create(SHARED) - create(NOT_SHARED);
        all.push(at_most_a_millisecond(
            "create of a shared root, more than of a root that is not shared",
            added,
        ));
        let own = total(&self.own, SHARED, "create").median();
        all.push(at_most_a_millisecond("create of a shared root, outside of the engine", own));
        all.extend(self.crowd.iter().flat_map(crowd_targets));
        all
    }

    /// Every figure, and facts about the machine.
    pub fn json(&self) -> Value {
        let peaks = self.peaks.iter().map(|p| {
            json!({"arm": p.arm, "kilobytes": p.commands.iter().map(|(verb, kib)| json!({*verb: kib})).collect::<Value>()})
        });
        json!({
            "machine": machine(),
            "linux_resources": may_lock_memory(),
            "targets": targets_json(&self.targets()),
            "cycles_milliseconds": self.cycles.json(),
            "floor_milliseconds": self.floor.json(),
            "execs_milliseconds": self.execs.json(),
            "own_milliseconds": self.own.json(),
            "peaks": peaks.collect::<Value>(),
            "crowd_milliseconds": self.crowd.as_ref().map(|c| json!({
                "mounts": [FEW, c.mounts], "few": c.few.json(), "many": c.many.json()
            })),
        })
    }
}

fn step<'a>(samples: &'a Samples, arm: &str, name: &str) -> &'a Times {
    samples.get(arm, CONTAINER, name).expect("every round has this step")
}

fn total<'a>(samples: &'a Samples, arm: &str, operation: &str) -> &'a Times {
    samples.get(arm, operation, TOTAL).expect("every round has this operation")
}

fn at_most_a_millisecond(what: &str, found: f64) -> Target {
    Target {
        what: what.to_owned(),
        found: format!("{found:.2} ms"),
        target: "≤ 1 ms".to_owned(),
        met: found <= 1.0,
    }
}

/// sharedroot's figure with its target, and the figures of the other runtimes.
fn crowd_targets(crowd: &Crowd) -> Vec<Target> {
    let figures = |arm| {
        let [few, many] = [&crowd.few, &crowd.many].map(|s| total(s, arm, "create + start"));
        [(few.median(), many.median()), (few.p99(), many.p99())]
    };
    let mut all = Vec::new();
    for arm in [SHARED, NOT_SHARED, CRUN, RUNC] {
        for ((few, many), what) in figures(arm).into_iter().zip(["median", "p99"]) {
            let what = format!("create + start {what}, {arm}, {} mounts to {FEW}", crowd.mounts);
            let target = Target::ratio(what, many, few, 1.2, "ms");
            let judged = arm == SHARED && target.what.contains("p99");
            all.push(if judged {
                target
            } else {
                Target { target: "told".to_owned(), met: true, ..target }
            });
        }
    }
    all
}
