//! Figures and their targets, as Markdown for people and as JSON for the next comparison.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::samples::Samples;

/// A figure and its target.
#[derive(Debug)]
pub struct Target {
    /// The figure's name.
    pub what: String,
    /// The figure's value, with the values that it was computed from.
    pub found: String,
    /// The target.
    pub target: String,
    /// Whether the figure meets the target.
    pub met: bool,
}

impl Target {
    /// A time of sharedroot that must be at most `most` times the time of another program. Both are in `unit`.
    #[must_use]
    pub fn ratio(what: String, ours: f64, peer: f64, most: f64, unit: &str) -> Self {
        Self {
            what,
            found: format!("{:.2} ({ours:.2} to {peer:.2} {unit})", ours / peer),
            target: format!("≤ {most}"),
            met: ours <= most * peer,
        }
    }
}

/// The targets, one a line.
#[must_use]
pub fn targets_table(targets: &[Target]) -> String {
    let mut text = "| figure | found | target | met |\n|---|---|---|---|\n".to_owned();
    for Target { what, found, target, met } in targets {
        let met = if *met { "yes" } else { "NO" };
        writeln!(text, "| {what} | {found} | {target} | {met} |").expect("a string grows");
    }
    text
}

/// The targets for programs.
#[must_use]
pub fn targets_json(targets: &[Target]) -> Value {
    let line =
        |t: &Target| json!({"what": t.what, "found": t.found, "target": t.target, "met": t.met});
    targets.iter().map(line).collect()
}

/// Median and p99 of every step, an arm a column.
#[must_use]
pub fn steps_table(title: &str, samples: &Samples) -> String {
    let arms = samples.arms();
    let mut text = format!("| {title}: median (p99) |");
    arms.iter().for_each(|arm| write!(text, " {arm} |").expect("a string grows"));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(arms.len()));
    for (operation, step) in samples.steps() {
        write!(text, "\n| {operation}: {step} |").expect("a string grows");
        for arm in &arms {
            match samples.get(arm, operation, step) {
                Some(t) => write!(text, " {:.2} ({:.2}) |", t.median(), t.p99()),
                None => write!(text, " |"),
            }
            .expect("a string grows");
        }
    }
    text.push('\n');
    text
}

/// Facts about the machine.
#[must_use]
pub fn machine() -> Value {
    let line = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    json!({"kernel": line("/proc/version"), "memory": line("/proc/meminfo"), "load": line("/proc/loadavg")})
}
