//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

use serde_json::{Value, json};

/// How often, on which pool.
#[derive(Debug)]
pub struct Options {
    /// Containers of each arm and image.
    pub rounds: usize,
    pub pool: Pool,
    /// What runs the containers of the arms that are not ours.
    pub runtime: String,
    pub json: Option<PathBuf>,
}

/// What the pool lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Loop,
    Device,
}

const USAGE: &str =
    "bench_cow [--rounds N] [--pool loop|device] [--runtime runc|crun|sharedroot] [--json FILE]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options =
            Self { rounds: 10, pool: Pool::Loop, runtime: "runc".to_owned(), json: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--rounds" => {
                    options.rounds =
                        value().parse().unwrap_or_else(|e| panic!("--rounds: {e}; {USAGE}"));
                }
                "--pool" => {
                    options.pool = match value().as_str() {
                        "loop" => Pool::Loop,
                        "device" => Pool::Device,
                        other => panic!("--pool {other}: neither loop nor device; {USAGE}"),
                    }
                }
                "--runtime" => options.runtime = value(),
                "--json" => options.json = Some(value().into()),
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 1, "--rounds is at least 2: the first of an image is told apart");
        let known = ["runc", "crun", "sharedroot"].contains(&options.runtime.as_str());
        assert!(known, "--runtime {}; {USAGE}", options.runtime);
        options
    }

    /// The options that a reader of the figures must know.
    pub fn json(&self) -> Value {
        let pool = if self.pool == Pool::Loop { "loop" } else { "device" };
        json!({"rounds": self.rounds, "pool": pool, "runtime": self.runtime})
    }
}
