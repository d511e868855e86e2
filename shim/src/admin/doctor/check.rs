//! One check: what was found, how severe the result is, and the remedy. Printed as a line or as JSON.

use serde_json::{Value, json};

use crate::admin::screen::Colour;

/// How severe a result is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The part works.
    Ok,
    /// The part works, but not as well as it could, or not for long.
    Warning,
    /// Containers fail, or no base is shared.
    Problem,
}

impl Severity {
    fn word_and_colour(self) -> (&'static str, Colour) {
        match self {
            Self::Ok => ("ok", Colour::Green),
            Self::Warning => ("warning", Colour::Yellow),
            Self::Problem => ("problem", Colour::Red),
        }
    }

    /// The exit status of `doctor` if this is the worst severity.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Problem => 2,
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the part that was checked. No two checks have the same name.
    pub name: &'static str,
    /// How severe the result is.
    pub severity: Severity,
    /// What was found, in one line.
    found: String,
    /// A command that can be pasted, or an instruction if no command does the work. Every result has a remedy, except a
    /// good one.
    remedy: Option<String>,
}

impl Check {
    /// A check with a good result.
    #[must_use]
    pub fn ok(name: &'static str, found: impl AsRef<str>) -> Self {
        Self { name, severity: Severity::Ok, found: one_line(found.as_ref()), remedy: None }
    }

    /// A check with a warning.
    #[must_use]
    pub fn warning(name: &'static str, found: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { severity: Severity::Warning, remedy, ..Self::ok(name, found) }
    }

    /// A check with a problem.
    #[must_use]
    pub fn problem(name: &'static str, found: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, ..Self::warning(name, found, remedy) }
    }

    /// The check as a line for people, on a terminal that shows colours.
    #[must_use]
    pub fn coloured_line(&self) -> String {
        let (word, colour) = self.severity.word_and_colour();
        self.line(&colour.paint(&format!("{word:<8}")))
    }

    /// The check as a line for people.
    #[must_use]
    pub fn plain_line(&self) -> String {
        let (word, _) = self.severity.word_and_colour();
        self.line(&format!("{word:<8}"))
    }

    fn line(&self, word: &str) -> String {
        let (name, found) = (self.name, &self.found);
        let remedy = self.remedy.iter().map(|remedy| format!("; remedy: {remedy}"));
        format!("{word} {name:<14} {found}{}", remedy.collect::<String>())
    }

    /// The check as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "severity": self.severity.word_and_colour().0,
            "found": self.found,
            "remedy": self.remedy,
        })
    }
}

/// Foreign text on one line, without characters that control a terminal.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let ok = Check::ok("pool", "default");
        assert_eq!(ok.plain_line(), "ok       pool           default");
        assert_eq!(ok.coloured_line(), "\x1b[32mok      \x1b[0m pool           default");
        assert_eq!(ok.to_json()["remedy"], Value::Null);
        let problem = Check::problem("configuration", "line 1:\n  \x1b[2Jwrong\n", "mend it");
        let line = "problem  configuration  line 1:; ?[2Jwrong; remedy: mend it";
        assert_eq!(problem.plain_line(), line);
        assert_eq!(problem.to_json()["severity"], "problem");
        assert_eq!(problem.to_json()["remedy"], "mend it");
    }

    #[test]
    fn the_worst_gives_the_exit_status() {
        let all = [Severity::Problem, Severity::Ok, Severity::Warning];
        assert_eq!(all.into_iter().max().map(Severity::status), Some(2));
        assert_eq!(Severity::Ok.status(), 0);
        assert_eq!(Severity::Warning.status(), 1);
    }
}
