//! The short form of the fuzzing: seeds, seeds with damage, and everything one step away from a captured configuration.

use std::path::Path;

use serde_json::{Value, json};
use sharedroot_seeds::{Target, damaged_seeds, every_seed, files};
use sharedroot_sys::chain::chain;

use super::*;
use crate::bundle::parse_config;

const TARGETS: [Target; 6] = [
    ("argv", argv),
    ("config", super::config),
    ("process", process),
    ("resources", resources),
    ("settings", settings),
    ("store", record),
];

#[test]
fn every_seed_is_read_or_refused() {
    every_seed(&TARGETS);
}

#[test]
fn damaged_seeds_are_read_or_refused() {
    damaged_seeds(&TARGETS);
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
