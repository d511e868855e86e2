//! The short form of the fuzzing: every seed, everything one step away from a captured configuration, and some hundred inputs
//! that are seeds with damage. The same on every run. `hack/fuzz` does the rest.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use serde_json::{Value, json};
use sharedroot_sys::chain::chain;

use super::*;
use crate::bundle::parse_config;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 9] = [
    ("archive", archive),
    ("argv", argv),
    ("config", super::config),
    ("mountinfo", mountinfo),
    ("process", process),
    ("resources", resources),
    ("settings", settings),
    ("store", store),
    ("tar", tar),
];

fn files(dir: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
    let list = fs::read_dir(&dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
    let mut files: Vec<_> = list.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// The seeds that lie in `fuzz/seeds`, and what engines wrote.
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
                    let config: Value = serde_json::from_slice(&text).unwrap();
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

/// The command line in a captured file, a word a line.
fn words(file: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let line = text.lines().next().unwrap().strip_prefix("argv: RUNTIME ").unwrap();
    line.replace(' ', "\n").into_bytes()
}

#[test]
fn every_seed_is_read_or_refused() {
    for (name, target) in TARGETS {
        seeds(name).iter().for_each(|seed| target(seed));
    }
}

/// Cuts, flips, repeats and swaps a few bytes of a seed.
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

#[test]
fn damaged_seeds_are_read_or_refused() {
    for (name, target) in TARGETS {
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

/// The places in a JSON text, as pointers. Of an array only the first element counts: the others are like it.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            if let Some(first) = items.first() {
                places(first, &format!("{at}/0"), found);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

fn all_places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(value, "", &mut found);
    found
}

/// A configuration with every field that has a meaning of its own, besides what Docker writes.
fn full_config() -> Value {
    let text = files("fuzz/seeds/config").into_iter().find(|(name, _)| name.ends_with("full.json"));
    serde_json::from_slice(&text.expect("full.json").1).unwrap()
}

#[test]
fn wrong_values_are_read_or_refused() {
    let long = "x".repeat(10_000);
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\0"),
        json!("../../.."),
        json!(long),
        json!([]),
        json!({}),
        json!([null]),
    ];
    let texts: [(&str, Target); 3] = [
        ("", ("config", super::config)),
        ("/process", ("process", process)),
        ("/linux/resources", ("resources", resources)),
    ];
    for (place, (_, target)) in texts {
        let text = full_config().pointer(place).unwrap().clone();
        for place in all_places(&text) {
            for wrong in &wrong {
                let mut spoiled = text.clone();
                *spoiled.pointer_mut(&place).unwrap() = wrong.clone();
                target(spoiled.to_string().as_bytes());
            }
        }
    }
}

/// Where any name has a meaning: the object is a table, not a structure.
const TABLES: [&str; 6] =
    ["/annotations", "/sysctl", "/unified", "/netDevices", "/rdma", "/timeOffsets"];

/// runtime-spec, config.md: "Implementations that are reading/processing this configuration file MUST NOT generate an error if
/// they encounter an unknown property."
#[test]
fn an_unknown_field_changes_nothing() {
    let path = Path::new("config.json");
    let mut config = full_config();
    let known = parse_config(path, config.to_string().as_bytes()).unwrap();
    let mut strewn = 0;
    for place in all_places(&config) {
        let Some(object) = config.pointer_mut(&place).unwrap().as_object_mut() else { continue };
        if !TABLES.iter().any(|table| place.ends_with(table)) {
            object.insert("notYetInvented".to_owned(), json!({ "a": [1, { "b": null }] }));
            strewn += 1;
        }
    }
    assert!(strewn > 40, "only {strewn} objects");
    assert_eq!(parse_config(path, config.to_string().as_bytes()).unwrap(), known);
}

#[test]
fn a_wrong_type_is_told_by_its_field() {
    let config = full_config();
    for place in all_places(&config).into_iter().filter(|place| !place.is_empty()) {
        let mut spoiled = config.clone();
        let value = spoiled.pointer_mut(&place).unwrap();
        *value = if value.is_boolean() { json!(7.5) } else { json!(true) };
        let text = spoiled.to_string();
        let Err(error) = parse_config(Path::new("config.json"), text.as_bytes()) else { continue };
        let message = chain(&error);
        let field = place.trim_start_matches('/').trim_end_matches("/0").replace("/0/", "[0].");
        let field = field.replace("~1", "/").replace('/', ".");
        assert!(message.contains(&field), "{field} is not named: {message}");
    }
}
