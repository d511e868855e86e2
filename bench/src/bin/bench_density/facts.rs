//! The machine of the run.

use std::fs;

use serde_json::{Value, json};
use sharedroot_bench::machine;
use sharedroot_tests::command::run;

/// Facts about the machine that only this benchmark needs.
pub fn of_this_machine() -> Value {
    let mut facts = machine();
    facts["hz"] = json!(ticks());
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    facts["cpus"] = json!(cpus.lines().filter(|line| line.starts_with("processor")).count());
    let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    facts["lsm"] = json!(lsm.trim());
    for program in ["sharedroot", "runc", "crun", "dockerd"] {
        let said = run(&[program, "--version"]);
        facts[program] = json!(said.stdout.lines().next());
    }
    facts
}

/// The length of a tick: the coarse clocks advance with each tick (clock_getres(2); 6 is CLOCK_MONOTONIC_COARSE of time.h).
fn ticks() -> Option<u64> {
    let program = "import time; print(round(1 / time.clock_getres(6)))";
    run(&["python3", "-c", program]).stdout.trim().parse().ok()
}
