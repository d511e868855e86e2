//! A job: its name, its result, and how long each part took.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

/// The counts in libtest's lines `test result: ok. 3 passed; 0 failed; …`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    /// The sum of all results in a log; `None` if the log has no result.
    pub fn of(log: &str) -> Option<Self> {
        let mut sum = None::<Self>;
        for line in log.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            let before = |word: &str| {
                let mut words = line.split([' ', ';']).filter(|word| !word.is_empty());
                let at = words.clone().position(|found| found == word)?.checked_sub(1)?;
                words.nth(at)?.parse::<u64>().ok()
            };
            let sum = sum.get_or_insert_default();
            sum.passed += before("passed").unwrap_or(0);
            sum.failed += before("failed").unwrap_or(1);
        }
        sum
    }
}

/// What decides whether a job passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// The job must print libtest's results, and no test may fail.
    ByResults,
    /// The job must end well. It may print results.
    ByExitCode,
}

/// A job that has ended.
#[derive(Debug)]
pub struct Done {
    pub name: String,
    pub boot: Duration,
    pub test: Duration,
    /// How long the job kept a processor, the boot included.
    pub spent: Duration,
    pub tally: Tally,
    /// How the job failed; `None` if it did not.
    pub fault: Option<String>,
    /// The evidence that a guest's kernel broke. The job then started again.
    pub broken: Vec<String>,
    /// Whether the job ran on this machine, and not in a guest.
    pub here: bool,
}

impl Done {
    /// Counts the results in the job's log. A job that failed without a failed test counts as one failed test.
    pub fn new(name: &str, log: &str, fault: Option<String>, passes: Passes) -> Self {
        let (mut tally, mut fault) = (Tally::of(log).unwrap_or_default(), fault);
        if fault.is_none() && passes == Passes::ByResults && Tally::of(log).is_none() {
            fault = Some("it printed no result".to_owned());
        }
        if fault.is_none() && tally.failed > 0 {
            fault = Some("a test failed".to_owned());
        }
        if fault.is_some() && tally.failed == 0 {
            tally.failed = 1;
        }
        let (boot, test, spent) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let (name, broken) = (name.to_owned(), vec![]);
        Self { name, boot, test, spent, tally, fault, broken, here: false }
    }

    /// One line about the job's end.
    pub fn line(&self) -> String {
        let Self { name, boot, test, spent, tally, fault, .. } = self;
        let end = match fault {
            Some(fault) => format!("FAILED: {fault}"),
            None => "fine".to_owned(),
        };
        format!(
            "== {name}: {end} ({} passed, {} failed; boot {} s, test {} s, processor {} s)",
            tally.passed,
            tally.failed,
            boot.as_secs(),
            test.as_secs(),
            spent.as_secs()
        )
    }
}

/// The directory of the logs.
#[derive(Debug, Clone)]
pub struct Out(pub PathBuf);

impl Out {
    /// The log of a job.
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }

    /// The text of a log.
    pub fn read(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log(name))?).into_owned())
    }

    /// Renames the log of a job whose guest broke, so that the next run has a new log.
    pub fn keep_broken(&self, name: &str) -> Result<()> {
        Ok(fs::rename(self.log(name), self.0.join(format!("{name}.broken.log")))?)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_counted() {
        let log = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\nx\n\
                   test result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(Tally::of(log), Some(Tally { passed: 4, failed: 2 }));
        assert_eq!(Tally::of("test a ... ok\n"), None);
    }

    #[test]
    fn nothing_said_is_a_failure() {
        assert_eq!(Done::new("a", "", None, Passes::ByResults).tally.failed, 1);
        assert_eq!(Done::new("a", "", None, Passes::ByExitCode).tally.failed, 0);
        let ended = Done::new(
            "a",
            "test result: ok. 3 passed; 0 failed\n",
            Some("1".into()),
            Passes::ByResults,
        );
        assert_eq!((ended.tally.passed, ended.tally.failed), (3, 1));
    }
}
