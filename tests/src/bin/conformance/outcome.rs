//! What one run of one suite found. It is kept as JSON, so that a later run can be compared with it.

use serde::{Deserialize, Serialize};

/// One suite, one runtime, one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub place: String,
    pub suite: String,
    pub runtime: String,
    /// The day, in UTC.
    pub date: String,
    /// Lines such as `runc version 1.1.15`: the kernel, the runtime, what else took part.
    pub versions: Vec<String>,
    pub tests: Vec<Test>,
}

/// One test of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    pub name: String,
    pub verdict: Verdict,
    /// Why it did not pass; empty where it did.
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
    /// Runs of the same suite of the same runtime on the same machine stand for each other.
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.place, &self.suite, &self.runtime)
    }

    /// How many tests ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|test| test.verdict == verdict).count()
    }

    /// How the test of that name ended, if there was one.
    pub fn verdict(&self, name: &str) -> Option<Verdict> {
        self.tests.iter().find(|test| test.name == name).map(|test| test.verdict)
    }

    /// Tests that passed in `known` and do not pass any more, and those that are not there any more.
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

/// One line of text for a table: the first of `text`, cut where it gets long, without what differs from run to run.
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

/// A word with `ID` in the place of a container's random ID and `BUNDLE` in that of its random directory.
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
