//! `--json` prints what docs/json.md says: every printed key is documented with its type, and every documented key is printed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::command::{Cmd, Output};

const DOCS: &str = include_str!("../../docs/json.md");

/// Runs `sharedroot VERB WORDS… --json`, which must succeed, and compares its output with the section `VERB`.
#[track_caller]
pub fn json(verb: &str, words: &[&str]) -> Value {
    let verbs: Vec<&str> = verb.split(' ').collect();
    let output = Cmd::new("sharedroot").args(&verbs).args(words).arg("--json").run();
    check(verb, output)
}

/// `sharedroot image list --json`
#[track_caller]
pub fn images() -> Vec<Value> {
    json("image list", &[])["images"].as_array().expect("a list").clone()
}

/// Compares the output of `sharedroot VERB` with the section `VERB`.
#[track_caller]
pub fn check(verb: &str, output: Output) -> Value {
    let value = output.json();
    let wrong = differences(&value, &section(verb));
    assert!(wrong.is_empty(), "docs/json.md, {verb}: {wrong:#?} in {value:#}");
    value
}

/// The types of each key of a section, by its path.
type Section = BTreeMap<String, Vec<String>>;

fn section(verb: &str) -> Section {
    let head = format!("## {verb}\n");
    let after = DOCS.split(&head).nth(1).unwrap_or_else(|| panic!("docs/json.md has no {head}"));
    let text = after.split("\n## ").next().expect("split yields one");
    let mut found = Section::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let (path, types) = (cells[1].trim_matches('`'), cells[2]);
        found.insert(path.to_owned(), types.split(" or ").map(str::to_owned).collect());
        // "object: pool status" has the keys of that section, except `version`.
        if let Some((_, of)) = types.split_once(": ") {
            let of = of.trim_end_matches(" or null");
            let below = section(of.split('[').next().expect("split yields one").trim());
            let inner = of.split_once('[').map_or("", |(_, list)| list.trim_end_matches(']'));
            for (key, types) in below.into_iter().filter(|(key, _)| key != "version") {
                let key = match inner {
                    "" => Some(key.as_str()),
                    list => key.strip_prefix(list).and_then(|rest| rest.strip_prefix("[].")),
                };
                key.into_iter().for_each(|key| {
                    found.insert(format!("{path}.{key}"), types.clone());
                });
            }
        }
    }
    found
}

/// The keys that are printed and not documented, or documented and not printed.
fn differences(value: &Value, section: &Section) -> Vec<String> {
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    compare(value, "", section, &mut wrong, &mut seen);
    // The keys below an empty list or a null are unknown.
    let hidden = |path: &str| {
        seen.iter().any(|(above, empty)| *empty && path.starts_with(above) && path != above)
    };
    let missing = section.keys().filter(|path| {
        !path.ends_with(".*") && !seen.iter().any(|(seen, _)| seen == *path) && !hidden(path)
    });
    wrong.extend(missing.map(|path| format!("{path} is not printed")));
    wrong
}

/// Whether a row such as `source.*` documents the path.
fn any_below(path: &str, section: &Section) -> bool {
    let above = path.rsplit_once('.').map(|(above, _)| format!("{above}.*"));
    above.is_some_and(|above| section.contains_key(&above))
}

fn compare(
    value: &Value,
    path: &str,
    section: &Section,
    wrong: &mut Vec<String>,
    seen: &mut Vec<(String, bool)>,
) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    if !path.is_empty() {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        seen.push((path.to_owned(), empty));
        let known = section.get(path);
        if known.is_none() && any_below(path, section) {
            return;
        }
        match known {
            None => return wrong.push(format!("{path} is not documented")),
            Some(types) if types.iter().any(|of| of.split(':').next() == Some(kind)) => {}
            Some(types) => wrong.push(format!("{path} is {kind}, not {}", types.join(" or "))),
        }
    }
    match value {
        Value::Object(keys) => {
            for (key, below) in keys {
                let dot = if path.is_empty() { "" } else { "." };
                compare(below, &format!("{path}{dot}{key}"), section, wrong, seen);
            }
        }
        Value::Array(all) => {
            all.iter().for_each(|one| compare(one, &format!("{path}[]"), section, wrong, seen));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_found() {
        let section: Section = [
            ("a", "number"),
            ("b", "list"),
            ("b[]", "object"),
            ("b[].c", "string or null"),
            ("d", "object or null"),
            ("d.e", "boolean"),
        ]
        .map(|(path, types)| (path.to_owned(), types.split(" or ").map(str::to_owned).collect()))
        .into();
        let differ = |value| differences(&value, &section);
        assert_eq!(differ(json!({ "a": 1, "b": [], "d": null })), [""; 0]);
        assert_eq!(differ(json!({ "a": 1, "b": [{ "c": null }], "d": { "e": true } })), [""; 0]);
        let found = differ(json!({ "a": "1", "b": [{ "c": 1, "f": 2 }], "d": {} }));
        let expected = [
            "a is string, not number",
            "b[].c is number, not string or null",
            "b[].f is not documented",
            "d.e is not printed",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_section_is_understood() {
        let heads = DOCS.lines().filter_map(|line| line.strip_prefix("## "));
        let commands: Vec<_> = heads.filter(|head| head.starts_with(char::is_lowercase)).collect();
        assert!(commands.len() > 10, "{commands:?}");
        for command in commands {
            let section = section(command);
            assert_eq!(section["version"], ["number"], "{command}");
        }
        assert_eq!(section("status")["images[].key"], ["string"]);
        assert_eq!(section("status")["pool.data.percent"], ["number"]);
    }
}
