//! The Test Anything Protocol, version 13, as the validation suite's programs print it.

use serde_json::Value;

use crate::outcome::{Test, Verdict, one_line};

/// The output of one program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tap {
    pub assertions: Vec<Assertion>,
    /// The sum of the plans. A program can print the output of a second program in the container, with a plan of its own.
    planned: Option<usize>,
    bail_out: Option<String>,
    /// A block with an error that belongs to no result: the programs of this suite report their own errors so. A block without
    /// an error only repeats the output of the container.
    loose: Option<String>,
}

/// `ok 1 - description # SKIP reason`, with the YAML block below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Assertion {
    ok: bool,
    skipped: bool,
    text: String,
    /// The content of the block, which is JSON in this suite.
    detail: String,
}

impl Tap {
    /// Parses the output. Other lines are diagnostics, and are ignored.
    pub fn parse(text: &str) -> Self {
        let mut tap = Self::default();
        let mut block: Option<String> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            match (&mut block, trimmed) {
                (Some(yaml), "...") => {
                    let detail = detail(yaml);
                    match tap.assertions.last_mut() {
                        Some(last) => last.detail = detail,
                        None if yaml.contains("\"error\":") => tap.loose = Some(detail),
                        None => {}
                    }
                    block = None;
                }
                (Some(yaml), _) => yaml.push_str(trimmed),
                (None, "---") => block = Some(String::new()),
                (None, _) => tap.line(trimmed),
            }
        }
        tap
    }

    fn line(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("1..") {
            let count = count.split(' ').next().and_then(|n| n.parse::<usize>().ok());
            if let Some(count) = count {
                *self.planned.get_or_insert(0) += count;
            }
        } else if let Some(why) = line.strip_prefix("Bail out!") {
            self.bail_out = Some(why.trim().to_owned());
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            self.assertions.push(Assertion::parse(false, rest));
        } else if let Some(rest) = line.strip_prefix("ok ") {
            self.assertions.push(Assertion::parse(true, rest));
        }
    }

    /// The result of the program, with every reason. Some programs print only failed results, so the exit code 0 without any
    /// result is a success.
    pub fn verdict(&self, name: &str, status: i32, stderr: &str) -> Test {
        let mut why: Vec<String> = self
            .assertions
            .iter()
            .filter(|assertion| !assertion.ok && !assertion.skipped)
            .map(Assertion::failure)
            .collect();
        why.extend(self.loose.iter().cloned());
        why.extend(self.bail_out.iter().map(|why| format!("bail out: {why}")));
        if status != 0 && why.is_empty() {
            why.push(format!("exit code {status}: {}", one_line(&joined(stderr))));
        }
        let seen = self.assertions.len();
        match self.planned {
            _ if !why.is_empty() => {}
            Some(planned) if planned != seen => why.push(format!("{seen} of {planned} results")),
            _ => {}
        }
        let verdict = if !why.is_empty() {
            Verdict::Failed
        } else if seen > 0 && self.assertions.iter().all(|assertion| assertion.skipped) {
            why = self.assertions.iter().map(|assertion| assertion.text.clone()).collect();
            Verdict::Skipped
        } else {
            Verdict::Passed
        };
        Test { name: name.to_owned(), verdict, why }
    }
}

/// The first line, with the runtime's message or the list of errors below it, without the URL of the specification.
fn joined(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    lines.filter(|l| !l.is_empty() && !l.starts_with("Refer to:")).collect::<Vec<_>>().join(": ")
}

impl Assertion {
    /// `1 - description`, `1 # SKIP reason`, `1`
    fn parse(ok: bool, rest: &str) -> Self {
        let text = rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let text = text.strip_prefix("- ").unwrap_or(text);
        let skipped = text.split_once('#').filter(|(_, directive)| {
            directive.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("skip"))
        });
        let text = match skipped {
            Some((before, directive)) => {
                let reason = directive.trim_start()[4..].trim();
                if reason.is_empty() { before.trim() } else { reason }
            }
            None => text,
        };
        Self { ok, skipped: skipped.is_some(), text: text.to_owned(), detail: String::new() }
    }

    fn failure(&self) -> String {
        match &*self.detail {
            "" => one_line(&self.text),
            detail => one_line(&format!("{}: {detail}", self.text)),
        }
    }
}

/// The error in a block, or the whole block.
fn detail(block: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(block) else { return one_line(block) };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(|t| one_line(&joined(t)));
    let found = ["error", "stderr", "message"].into_iter().find_map(text);
    found.unwrap_or_else(|| {
        let fields = fields.iter().filter(|(name, _)| !["level", "reference"].contains(&&***name));
        fields.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn of(text: &str, status: i32, stderr: &str) -> (Verdict, Vec<String>) {
        let test = Tap::parse(text).verdict("t", status, stderr);
        (test.verdict, test.why)
    }

    #[test]
    fn a_program_passes_when_every_planned_result_is_ok() {
        assert_eq!(of("TAP version 13\nok 1 - a\nok 2 # SKIP b\n1..2\n", 0, "").0, Verdict::Passed);
        assert_eq!(of("ok 1 - a\n1..1\nok 1 - b\n1..1\n", 0, "warning").0, Verdict::Passed);
    }

    #[test]
    fn a_program_that_says_nothing_says_it_by_its_exit_code() {
        assert_eq!(of("TAP version 13\n1..0", 0, ""), (Verdict::Passed, vec![]));
        assert_eq!(of("", 0, "failed to create, as it should"), (Verdict::Passed, vec![]));
        let repeats = "  ---\n  {\"stdout\": \"not ok 1\"}\n  ...\nok 1\n1..1";
        assert_eq!(of(repeats, 0, ""), (Verdict::Passed, vec![]));
    }

    #[test]
    fn every_result_that_is_not_ok_is_a_reason() {
        let text = "not ok 1 - a\n  ---\n  {\n    \"error\": \"x\\ny\\nRefer to: z\",\n    \"level\": \"MUST\"\n  }\n  ...\nok 2 - b\nnot ok 3 - c\n1..3";
        assert_eq!(of(text, 0, ""), (Verdict::Failed, vec!["a: x: y".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_skip_says_why_it_is_one() {
        let skipped = (Verdict::Skipped, vec!["cgroup2 is not supported".to_owned()]);
        assert_eq!(of("ok 1 # SKIP cgroup2 is not supported\n1..1", 0, ""), skipped);
        assert_eq!(of("ok 1 cgroup2 is not supported # skip\n1..1", 0, ""), skipped);
    }

    #[test]
    fn a_program_that_ends_early_failed() {
        for (text, status, stderr, why) in [
            ("  ---\n  {\"error\": \"late\"}\n  ...\n1..0", 0, "", "late"),
            ("", 1, "boom\n", "exit code 1: boom"),
            ("ok 1 - a\n1..3", 0, "", "1 of 3 results"),
            ("ok 1 - a\n1..1", 2, "late", "exit code 2: late"),
            ("ok 1 - a\nBail out! tired", 0, "", "bail out: tired"),
        ] {
            assert_eq!(of(text, status, stderr), (Verdict::Failed, vec![why.to_owned()]), "{text}");
        }
    }
}
