//! The results of one run of one suite. They are kept as JSON, to compare a later run with them.

use serde::{Deserialize, Serialize};

/// The results of one suite with one runtime on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub place: String,
    pub suite: String,
    pub runtime: String,
    /// The day of the run, in UTC.
    pub date: String,
    /// The versions of the kernel, the runtime and other programs, as lines such as `runc version 1.1.15`.
    pub versions: Vec<String>,
    pub tests: Vec<Test>,
}

/// One test of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    pub name: String,
    pub verdict: Verdict,
    /// Why the test did not pass; empty if it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Run {
    /// The machine, the suite and the runtime. A run replaces an older run with the same key.
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.place, &self.suite, &self.runtime)
    }

    /// The number of tests with this result.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|test| test.verdict == verdict).count()
    }

    /// The result of the test with this name; `None` if there is no such test.
    pub fn verdict(&self, name: &str) -> Option<Verdict> {
        self.tests.iter().find(|test| test.name == name).map(|test| test.verdict)
    }

    /// Tests that passed in `known`, and now do not pass or do not exist.
    pub fn lost(&self, known: &Self) -> Vec<String> {
        let passed = known.tests.iter().filter(|test| test.verdict == Verdict::Passed);
        passed
            .filter(|test| self.verdict(&test.name) != Some(Verdict::Passed))
            .map(|test| match self.tests.iter().find(|now| now.name == test.name) {
                Some(now) => format!("{}: {}", now.name, now.why.join("; ")),
                None => format!("{}: it was not run", test.name),
            })
            .collect()
    }
}

/// One line for a table: the first line of `text`, without words that differ in each run, and truncated if it is long.
pub fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let words = line.split(' ').filter(|word| !word.starts_with("time=") && *word != "level=error");
    let line = words.map(without_ids).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Replaces a container's random ID in a word by `ID`, and its random directory by `BUNDLE`.
fn without_ids(word: &str) -> String {
    let uuid = |part: &str| {
        part.len() == 36
            && part.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
            && part.contains('-')
    };
    let parts =
        word.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(|part| {
            let name = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            let end = &part[name.len()..];
            if uuid(name) {
                format!("ID{end}")
            } else if name.strip_prefix("ocitest").is_some_and(|n| n.parse::<u64>().is_ok()) {
                format!("BUNDLE{end}")
            } else {
                part.to_owned()
            }
        });
    parts.collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn run(runtime: &str, tests: &[(&str, Verdict)]) -> Run {
        let test = |(name, verdict): &(&str, Verdict)| Test {
            name: (*name).to_owned(),
            verdict: *verdict,
            why: if *verdict == Verdict::Passed { vec![] } else { vec![format!("{name} | why")] },
        };
        Run {
            place: "lab".to_owned(),
            suite: "s".to_owned(),
            runtime: runtime.to_owned(),
            date: "2026-01-02".to_owned(),
            versions: vec!["Linux 6.12".to_owned()],
            tests: tests.iter().map(test).collect(),
        }
    }

    #[test]
    fn a_test_is_lost_when_it_passed_and_does_not_any_more() {
        use Verdict::{Failed, Passed, Skipped};
        let known = run("ours", &[("a", Passed), ("b", Failed), ("c", Passed), ("d", Passed)]);
        let now = run("ours", &[("a", Passed), ("b", Failed), ("c", Skipped), ("new", Failed)]);
        assert_eq!(now.lost(&known), ["c: c | why", "d: it was not run"]);
        assert_eq!(known.lost(&known), [""; 0]);
    }

    #[test]
    fn a_run_survives_its_json() {
        let before = run("ours", &[("a", Verdict::Passed), ("b", Verdict::Failed)]);
        let text = serde_json::to_string(&before).unwrap();
        assert!(!text.contains("\"passed\",\"why\""), "{text}");
        assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), before);
    }

    #[test]
    fn a_reason_is_the_same_in_the_next_run() {
        let said = "time=\"2026-11-21T11:18:51Z\" level=error msg=\"no container 4410b9c1-894f-42db-b809-01a788b39471, /tmp/ocitest632295392/x is-not\"";
        assert_eq!(one_line(said), "msg=\"no container ID, /tmp/BUNDLE/x is-not\"");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(one_line("\n  first \nsecond"), "first");
        let cut = one_line(&"é".repeat(300));
        assert_eq!(cut.chars().count(), 241);
    }
}
