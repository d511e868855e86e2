//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

/// What is measured, and how often.
#[derive(Debug)]
pub struct Options {
    pub part: Part,
    /// Containers of each arm, one after another.
    pub rounds: usize,
    /// Containers at once, for their memory.
    pub containers: usize,
    /// Containers in one server.
    pub many: usize,
    /// Containers in one server of the control, containerd's own shim and runc; 0 for none.
    pub control: usize,
    pub json: Option<PathBuf>,
}

/// One guest's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Ctr,
    Docker,
    Cri,
    Many,
}

impl Part {
    const ALL: [Self; 4] = [Self::Ctr, Self::Docker, Self::Cri, Self::Many];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ctr => "ctr",
            Self::Docker => "docker",
            Self::Cri => "cri",
            Self::Many => "many",
        }
    }
}

const USAGE: &str = "bench_engine --part ctr|docker|cri|many [--rounds N] [--containers N] [--many N] [--control N] [--json FILE]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            part: Part::Ctr,
            rounds: 9,
            containers: 10,
            many: 1000,
            control: 200,
            json: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--part" => options.part = part(&value()),
                "--rounds" => options.rounds = number(&value()),
                "--containers" => options.containers = number(&value()),
                "--many" => options.many = number(&value()),
                "--control" => options.control = number(&value()),
                "--json" => options.json = Some(value().into()),
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 0 && options.containers > 0, "at least one container; {USAGE}");
        let enough = 2 * crate::many::HUNDRED;
        let few = options.many < enough || (1..enough).contains(&options.control);
        assert!(
            !few,
            "--many and --control are at least {enough}: the last hundred is compared with the first"
        );
        options
    }
}

fn part(text: &str) -> Part {
    let found = Part::ALL.into_iter().find(|part| part.name() == text);
    found.unwrap_or_else(|| panic!("{text}: no part; {USAGE}"))
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}; {USAGE}"))
}
