//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

/// How often, of what.
#[derive(Debug)]
pub struct Options {
    pub task: Task,
    pub rounds: usize,
    /// Measure only this image of the lab.
    image: Option<&'static str>,
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

/// An image with few files, and an image with many files.
const IMAGES: [&str; 2] = ["debian", "python"];
/// Other images of the lab that could be slow.
const LAB: [&str; 4] = ["busybox", "redis", "nginx", "awkward"];
const USAGE: &str = "bench_image [--rounds N] [--image NAME] [--json FILE] [peak COMMAND…]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options = Self { task: Task::Measure, rounds: 5, image: None, json: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--rounds" => {
                    options.rounds =
                        value().parse().unwrap_or_else(|e| panic!("--rounds: {e}; {USAGE}"));
                }
                "--image" => {
                    let (name, mut all) = (value(), LAB.iter().chain(&IMAGES));
                    let found = all.find(|image| **image == name);
                    options.image =
                        Some(found.unwrap_or_else(|| panic!("--image {name}; {USAGE}")));
                }
                "--json" => options.json = Some(value().into()),
                "peak" => options.task = Task::Peak { command: words.by_ref().collect() },
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 0, "--rounds is at least 1");
        options
    }

    pub fn images(&self) -> Vec<&'static str> {
        self.image.map_or_else(|| IMAGES.to_vec(), |image| vec![image])
    }
}
