//! sharedroot's own part of `create`: the time from the start of the process to the call of the engine, and from the engine's
//! return to the end. `--debug` writes a line before and after the engine.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sharedroot_bench::{Clock, Samples};

use crate::runtime::{Arms, NOT_SHARED, Runtime, SHARED, call, wait};

/// The lines, by their beginnings (`crates/engine/src/embedded/container.rs`).
const MARKS: [&str; 2] = ["the engine begins", "the engine is done"];

/// Times the two arms of sharedroot in turn.
pub fn run(arms: &Arms, rounds: usize) -> Samples {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        for arm in [SHARED, NOT_SHARED] {
            let arm = arms.get(arm);
            samples.file(arm.name, "create", &create(arm));
        }
    }
    samples
}

fn create(arm: &Runtime) -> Clock {
    let _ = fs::remove_file(arm.log());
    let mut words = arm.create_true();
    words.insert(1, "--debug".to_owned());
    let before = seconds_of_day();
    call(&words);
    let after = seconds_of_day();
    let init = arm.init();
    call(&arm.start());
    wait(&init);
    call(&arm.delete());
    let log = fs::read_to_string(arm.log()).expect("read the log");
    let [begins, done] = MARKS.map(|mark| time_of(&log, mark));
    let mut clock = Clock::default();
    clock.add("before the engine", (begins - before) * 1e3);
    clock.add("after the engine", (after - done) * 1e3);
    clock
}

/// The time of the line that begins with these words, in seconds since midnight.
fn time_of(log: &str, mark: &str) -> f64 {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found =
        lines.into_iter().find(|line| line["msg"].as_str().is_some_and(|m| m.starts_with(mark)));
    let line = found.unwrap_or_else(|| panic!("no line {mark:?} in the log"));
    let time = line["time"]
        .as_str()
        .expect("a time")
        .split_once('T')
        .expect("RFC 3339")
        .1
        .trim_end_matches('Z')
        .to_owned();
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("a number")).collect();
    parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
}

fn seconds_of_day() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now.as_secs() % 86400) as f64 + f64::from(now.subsec_nanos()) / 1e9
}
