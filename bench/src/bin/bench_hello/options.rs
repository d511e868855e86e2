//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

use crate::images::{IMAGES, Image, image};

/// How often, of what.
#[derive(Debug)]
pub struct Options {
    /// Cold containers of each image and arm.
    pub rounds: usize,
    /// Warm containers after each cold one.
    pub warm: usize,
    pub images: Vec<&'static Image>,
    pub json: Option<PathBuf>,
}

const USAGE: &str = "bench_hello [--rounds N] [--warm N] [--images NAME,…] [--json FILE]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let images = IMAGES.iter().filter(|image| image.by_default).collect();
        let mut options = Self { rounds: 4, warm: 1, images, json: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--rounds" => options.rounds = number(&value()),
                "--warm" => options.warm = number(&value()),
                "--images" => options.images = value().split(',').map(image).collect(),
                "--json" => options.json = Some(value().into()),
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        assert!(options.rounds > 0, "--rounds is at least 1");
        assert!(
            options.warm > 0,
            "--warm is at least 1: the second container is one of the figures"
        );
        options
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}; {USAGE}"))
}
