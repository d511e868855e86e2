//! The command line, which `hack/conformance` passes on.

use std::path::PathBuf;

use crate::place::Place;
use crate::runtime::{DEFAULT, Runtime};
use crate::suites::{ALL, Suite};

/// The task of this process.
#[derive(Debug)]
pub enum Task {
    /// Run suites, add the results to the book, write the table.
    Drive(Options),
    /// Run on the machine: print its versions and the results of the validation suite as JSON.
    Inside { suite: Suite, runtime: Runtime, share: PathBuf },
}

/// What to run.
#[derive(Debug)]
pub struct Options {
    pub places: Vec<Place>,
    pub suites: Vec<Suite>,
    pub runtimes: Vec<Runtime>,
    /// Change nothing; fail if a test that has passed before does not pass.
    pub check: bool,
}

const USAGE: &str = "hack/conformance [--native] [--check] [--suite NAME]… [--runtime NAME]…";

impl Task {
    /// Panics with the usage for anything unknown.
    pub fn parse(words: impl Iterator<Item = String>) -> Self {
        let words: Vec<String> = words.collect();
        if words.first().is_some_and(|word| word == "inside") {
            assert!(words.len() >= 3, "inside SUITE RUNTIME [SHARE]");
            let share = words.get(3).map_or_else(|| PathBuf::from("/share"), PathBuf::from);
            return Self::Inside { suite: suite(&words[1]), runtime: runtime(&words[2]), share };
        }
        let mut options =
            Options { places: vec![Place::Lab], suites: vec![], runtimes: vec![], check: false };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--native" => options.places = vec![Place::Native],
                "--check" => options.check = true,
                "--suite" => options.suites.push(suite(&value())),
                "--runtime" => options.runtimes.push(runtime(&value())),
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        if options.suites.is_empty() {
            options.suites = ALL.to_vec();
        }
        if options.runtimes.is_empty() {
            options.runtimes = DEFAULT.map(runtime).to_vec();
        }
        Self::Drive(options)
    }
}

fn suite(name: &str) -> Suite {
    Suite::parse(name).unwrap_or_else(|| panic!("{name}: no such suite; {USAGE}"))
}

fn runtime(name: &str) -> Runtime {
    Runtime::parse(name).unwrap_or_else(|| panic!("{name}: no such runtime; {USAGE}"))
}
