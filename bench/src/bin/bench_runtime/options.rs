//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

/// How often, how many, of what.
#[derive(Debug)]
pub struct Options {
    pub task: Task,
    /// Rounds of each phase.
    pub rounds: usize,
    /// Mounts of the host in the last phase; 0 leaves it out.
    pub mounts: usize,
    /// Whether the image's base is a directory mounted beforehand, for a machine without device-mapper.
    pub premounted: bool,
    /// Our own executable.
    pub ours: PathBuf,
    /// The static programs `true` and `pause`.
    pub programs: PathBuf,
    pub json: Option<PathBuf>,
}

/// The task of this process.
#[derive(Debug)]
pub enum Task {
    Measure,
    /// Runs a command and prints the peak memory of its largest process.
    Peak {
        command: Vec<String>,
    },
}

const USAGE: &str = "bench_runtime [--rounds N] [--mounts N] [--premounted] [--ours FILE] [--programs DIR] [--json FILE] \
                     [peak COMMAND…]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            task: Task::Measure,
            rounds: 200,
            mounts: 1000,
            premounted: false,
            ours: "target/release/sharedroot".into(),
            programs: "target/bench/programs".into(),
            json: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--rounds" => options.rounds = number(&value()),
                "--mounts" => options.mounts = number(&value()),
                "--premounted" => options.premounted = true,
                "--ours" => options.ours = value().into(),
                "--programs" => options.programs = value().into(),
                "--json" => options.json = Some(value().into()),
                "peak" => options.task = Task::Peak { command: words.by_ref().collect() },
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 0, "--rounds is at least 1");
        options
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}; {USAGE}"))
}
