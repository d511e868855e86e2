//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

/// How often, how many, how long.
#[derive(Debug)]
pub struct Options {
    pub task: Task,
    /// Rounds of the interleaved cycles.
    pub rounds: usize,
    /// Snapshots that are kept in the growth phase; 0 leaves it out.
    pub snapshots: usize,
    /// How long mounted snapshots are left alone; 0 leaves that phase out.
    pub idle_seconds: u64,
    pub containerd: bool,
    pub json: Option<PathBuf>,
}

/// The task of this process.
#[derive(Debug)]
pub enum Task {
    Measure,
    /// A child of the growth phase: open the pool in `state`, use it once, print the own peak memory.
    Peak {
        state: PathBuf,
    },
    /// Cycles of one arm alone, to run under strace.
    Trace {
        arm: String,
    },
}

const USAGE: &str = "bench_dm [--rounds N] [--snapshots N] [--idle SECONDS] [--no-containerd] [--json FILE] [trace raw|discard|open|each]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            task: Task::Measure,
            rounds: 200,
            snapshots: 1000,
            idle_seconds: 30,
            containerd: true,
            json: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            let mut number =
                || value().parse::<u64>().unwrap_or_else(|e| panic!("{word}: {e}; {USAGE}"));
            match word.as_str() {
                "--rounds" => options.rounds = number() as usize,
                "--snapshots" => options.snapshots = number() as usize,
                "--idle" => options.idle_seconds = number(),
                "--no-containerd" => options.containerd = false,
                "--json" => options.json = Some(value().into()),
                "peak" => options.task = Task::Peak { state: value().into() },
                "trace" => options.task = Task::Trace { arm: value() },
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 0, "--rounds is at least 1");
        options
    }
}
