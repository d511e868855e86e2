//! Short fuzzing, for the tests of each crate that reads what others wrote.
//!
//! A test gives each of its targets every seed of `fuzz/seeds`, and then 200 seeds with damage. The damage is the same on every
//! run. `hack/fuzz` runs the same targets with coverage-guided inputs.

mod fields;

use std::error::Error;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use serde_json::Value;
use sharedroot_sys::chain::chain;

pub use fields::{full_config, places, wrong_values};

/// The name of a target, and the function that gets an input.
pub type Target = (&'static str, fn(&[u8]));

/// Checks that an error is a message for a person: words, and not too many.
///
/// # Panics
/// If the error has no words, or more than 5,000 bytes.
pub fn says_something(error: &dyn Error) {
    let text = chain(error);
    assert!(text.chars().any(char::is_alphabetic), "an error without words: {text:?}");
    assert!(text.len() <= 5000, "an error that nobody can read, {} bytes", text.len());
}

/// The names and contents of the files in a directory of the repository, in the order of their names.
///
/// # Panics
/// If a file cannot be read.
#[must_use]
pub fn files(dir: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(dir);
    let list = fs::read_dir(&dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
    let mut files: Vec<_> = list.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
        .iter()
        .map(|path| (path.display().to_string(), fs::read(path).expect("read a file")))
        .collect()
}

/// The seeds of a target: those in `fuzz/seeds`, and the files of engines in `tests/fixtures`.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> =
        files(&format!("fuzz/seeds/{target}")).into_iter().map(|(_, text)| text).collect();
    for folder in ["trixie-docker26-plain", "trixie-docker26-selinux"] {
        for (name, text) in files(&format!("tests/fixtures/{folder}")) {
            match target {
                "config" | "process" if name.ends_with(&format!(".{target}.json")) => {
                    seeds.push(text);
                }
                "resources" if name.ends_with(".config.json") => {
                    let config: Value = serde_json::from_slice(&text).expect("a configuration");
                    seeds.push(config["linux"]["resources"].to_string().into_bytes());
                }
                "argv" if name.ends_with(".argv") => seeds.push(words(&text)),
                _ => {}
            }
        }
    }
    assert!(!seeds.is_empty(), "no seeds for {target}");
    seeds
}

/// The command line in a captured file, one word in each line.
fn words(file: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let line = text.lines().next().and_then(|line| line.strip_prefix("argv: RUNTIME "));
    line.expect("a command line").replace(' ', "\n").into_bytes()
}

/// Gives each target all of its seeds.
///
/// # Panics
/// If a target panics.
pub fn every_seed(targets: &[Target]) {
    for (name, target) in targets {
        seeds(name).iter().for_each(|seed| target(seed));
    }
}

/// Seeds of which a few bytes are changed, inserted, cut, repeated or swapped.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = (0..5_u8, any::<Index>(), any::<Index>(), any::<u8>());
    let damages = proptest::collection::vec(damage, 1..6);
    (proptest::sample::select(seeds), damages).prop_map(|(mut bytes, damages)| {
        for (kind, at, to, byte) in damages {
            if bytes.is_empty() {
                bytes.push(byte);
            }
            let (a, b) = (at.index(bytes.len()), to.index(bytes.len()));
            let (from, end) = (a.min(b), a.max(b).min(a.min(b) + 40));
            match kind {
                0 => bytes[a] = byte,
                1 => bytes.insert(a, byte),
                2 => drop(bytes.drain(from..end)),
                3 => bytes.extend_from_within(from..end),
                _ => bytes.swap(a, b),
            }
        }
        bytes
    })
}

/// Gives each target 200 damaged seeds.
///
/// # Panics
/// If a target panics, with the input.
pub fn damaged_seeds(targets: &[Target]) {
    for (name, target) in targets {
        let fixed = ProptestConfig {
            cases: 200,
            rng_seed: RngSeed::Fixed(27364),
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let run = TestRunner::new(fixed).run(&damaged(seeds(name)), |input| {
            target(&input);
            Ok(())
        });
        if let Err(TestError::Fail(why, input)) = run {
            panic!("{name}: {why}: {}", String::from_utf8_lossy(&input));
        }
    }
}
