//! The command line, which `hack/bench` passes on.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::mode::Mode;

/// How many pods, in which ways.
#[derive(Debug)]
pub struct Options {
    pub pods: usize,
    pub modes: Vec<Mode>,
    /// The engine of the arms with sharedroot; the default is the embedded one.
    pub engine: Option<String>,
    /// How many pods are created or deleted at once.
    pub parallel: usize,
    /// How many images the pods have, in turn.
    pub images: usize,
    pub via: Via,
    /// The static programs: `pause`, which a pod runs, and `true` for the floor.
    pub programs: PathBuf,
    pub json: Option<PathBuf>,
    /// Pods of each mode that are made in turn.
    pub turns: usize,
    /// Fail if a figure is far beyond its target.
    pub check: bool,
}

/// The program that calls the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Oci,
    Docker,
}

const USAGE: &str = "bench_density [--pods N] [--modes NAME,…] [--engine NAME] [--parallel N] [--images N] \
                     [--via oci|docker] [--programs DIR] [--turns N] [--json FILE] [--check]";

impl Options {
    /// Parses the command line. Panics with the usage for an unknown option.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            pods: 1000,
            modes: Vec::new(),
            engine: None,
            parallel: 1,
            images: 1,
            via: Via::Oci,
            programs: "programs".into(),
            json: None,
            turns: 100,
            check: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word}: no value; {USAGE}"));
            match word.as_str() {
                "--pods" => options.pods = number(&value()),
                "--modes" => options.modes = value().split(',').map(mode).collect(),
                "--engine" => options.engine = Some(value()),
                "--parallel" => options.parallel = number(&value()),
                "--images" => options.images = number(&value()),
                "--via" => options.via = via(&value()),
                "--programs" => options.programs = value().into(),
                "--turns" => options.turns = number(&value()),
                "--check" => options.check = true,
                "--json" => options.json = Some(value().into()),
                other => panic!("{other}: unknown; {USAGE}"),
            }
        }
        if options.modes.is_empty() {
            options.modes = vec![Mode::Shared, Mode::Private, Mode::Overlay2];
            if options.via == Via::Oci {
                options.modes.push(Mode::Plain);
            }
        }
        assert!(options.pods >= 10, "--pods is at least 10: figures are taken at every tenth part");
        assert!(options.parallel > 0, "--parallel is at least 1");
        let images = 1..options.pods / 2;
        assert!(images.contains(&options.images), "--images: each has more than one pod");
        assert!(options.turns > 0, "--turns is at least 1");
        assert!(
            options.via == Via::Oci || options.images == 1,
            "--images: Docker has one image of pause"
        );
        options
    }

    /// The options that a reader of the figures must know.
    pub fn json(&self) -> Value {
        json!({
            "pods": self.pods,
            "turns": self.turns,
            "parallel": self.parallel,
            "images": self.images,
            "engine": self.engine,
            "via": if self.via == Via::Oci { "oci" } else { "docker" },
        })
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}; {USAGE}"))
}

fn mode(name: &str) -> Mode {
    let names = Mode::ALL.map(Mode::name).join(", ");
    Mode::ALL
        .into_iter()
        .find(|mode| mode.name() == name)
        .unwrap_or_else(|| panic!("--modes: {name:?} is none of {names}"))
}

fn via(name: &str) -> Via {
    match name {
        "oci" => Via::Oci,
        "docker" => Via::Docker,
        other => panic!("--via: {other:?} is neither oci nor docker"),
    }
}
