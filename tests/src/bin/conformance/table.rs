//! The results as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::outcome::{Run, Test, Verdict};

const OURS: &str = "sharedroot";

/// One table per machine, and then the tests that sharedroot does not pass.
pub fn markdown(head: &str, runs: &[Run]) -> String {
    let mut text = head.to_owned();
    let mut places: Vec<&str> = runs.iter().map(|run| &*run.place).collect();
    places.dedup();
    for place in places {
        let here: Vec<_> = runs.iter().filter(|run| run.place == place).collect();
        write!(text, "\n## {place}\n{}\n", counts(&here)).expect("write to a string");
        write!(text, "\n{}", versions(&here)).expect("write to a string");
        text += &failures(&here);
    }
    text
}

/// `passed / failed / skipped` of every suite and runtime.
fn counts(runs: &[&Run]) -> String {
    let mut runtimes: Vec<&str> = runs.iter().map(|run| &*run.runtime).collect();
    runtimes.sort_by_key(|name| (!name.starts_with(OURS), *name));
    runtimes.dedup();
    let mut suites: Vec<&str> = runs.iter().map(|run| &*run.suite).collect();
    suites.sort_unstable();
    suites.dedup();
    let mut text = format!("| passed / failed / skipped | {} |\n", runtimes.join(" | "));
    text += &format!("|---|{}", "---|".repeat(runtimes.len()));
    for suite in suites {
        write!(text, "\n| {suite} |").expect("write to a string");
        for runtime in &runtimes {
            let run = runs.iter().find(|run| run.suite == suite && run.runtime == *runtime);
            let cell = run.map_or("not run".to_owned(), |run| {
                let count = |verdict| run.count(verdict);
                format!(
                    "{} / {} / {}",
                    count(Verdict::Passed),
                    count(Verdict::Failed),
                    count(Verdict::Skipped)
                )
            });
            write!(text, " {cell} |").expect("write to a string");
        }
    }
    text
}

/// The versions, each one once, with the days on which the suites ran.
fn versions(runs: &[&Run]) -> String {
    let mut days: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for run in runs {
        for version in &run.versions {
            days.entry(version).or_default().push(&run.date);
        }
    }
    let list = days.into_iter().map(|(version, mut days)| {
        days.sort_unstable();
        days.dedup();
        format!("{version} ({})", days.join(", "))
    });
    format!("{}.\n", list.collect::<Vec<_>>().join("; "))
}

/// Every test that sharedroot fails or skips, with the reason, and with the results of the other runtimes.
fn failures(runs: &[&Run]) -> String {
    let mut text = String::new();
    for ours in runs.iter().filter(|run| run.runtime.starts_with(OURS)) {
        let others: Vec<_> = runs
            .iter()
            .filter(|run| run.suite == ours.suite && !run.runtime.starts_with(OURS))
            .collect();
        let missed: Vec<_> = ours.tests.iter().filter(|t| t.verdict != Verdict::Passed).collect();
        if missed.is_empty() {
            continue;
        }
        let names: Vec<_> = others.iter().map(|run| &*run.runtime).collect();
        write!(text, "\n### {}: {}\n| test | {} | ", ours.suite, ours.runtime, ours.runtime)
            .expect("write to a string");
        write!(text, "{} |\n|---|---|{}\n", names.join(" | "), "---|".repeat(names.len()))
            .expect("write to a string");
        for test in missed {
            write!(text, "| {} | {}", test.name, cell(test)).expect("write to a string");
            for other in &others {
                let verdict = other.tests.iter().find(|t| t.name == test.name);
                let said = verdict.map_or("not run".to_owned(), |t| same(test, t));
                write!(text, " | {said}").expect("write to a string");
            }
            text += " |\n";
        }
    }
    text
}

fn cell(test: &Test) -> String {
    const MOST: usize = 3;
    let mut why = test.why.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if test.why.len() > MOST {
        why += &format!("; {} more", test.why.len() - MOST);
    }
    // A bar would end the cell of the table. The text comes from others, so it must not become markup.
    let why = why.replace('|', "\\|").replace('<', "&lt;");
    format!("{}: {why}", word(test.verdict))
}

/// A reason that equals the one before is not printed again.
fn same(ours: &Test, other: &Test) -> String {
    if other.verdict == Verdict::Passed {
        return "passed".to_owned();
    }
    if other.verdict == ours.verdict && other.why == ours.why {
        return format!("{}, same reason", word(other.verdict));
    }
    cell(other)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict::{Failed, Passed, Skipped};
    use crate::outcome::tests::run;

    #[test]
    fn the_table_counts_and_the_list_compares() {
        let runs = [
            run("crun", &[("a", Passed), ("b", Passed)]),
            run("runc", &[("a", Passed), ("b", Failed)]),
            run("sharedroot", &[("a", Passed), ("b", Failed), ("c", Skipped)]),
        ];
        let text = markdown("# Head\n", &runs);
        for line in [
            "# Head\n\n## lab\n",
            "| passed / failed / skipped | sharedroot | crun | runc |\n|---|---|---|---|\n",
            "| s | 1 / 1 / 1 | 2 / 0 / 0 | 1 / 1 / 0 |\n",
            "Linux 6.12 (2026-01-02).",
            "| b | failed: b \\| why | passed | failed, same reason |\n",
            "| c | skipped: c \\| why | not run | not run |\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
        assert!(!text.contains("| a |"), "{text}");
    }
}
