//! How the crates stand to one another, and what may be in each: what a review would have to look for at every change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What each crate of the workspace may use of the others, to build and to test.
const HOUSE: [(&str, &[&str]); 5] = [
    ("sharedroot", &["sharedroot-dm"]),
    ("sharedroot-bench", &["sharedroot-dm", "sharedroot-tests"]),
    ("sharedroot-dm", &[]),
    ("sharedroot-tests", &[]),
    ("xtask", &[]),
];

/// Runtimes, TLS and RPC: a program that starts for every command of every container pays for each byte of its file.
const OF_DAEMONS: [&str; 17] = [
    "async-executor",
    "async-std",
    "futures-executor",
    "h2",
    "hyper",
    "mio",
    "native-tls",
    "openssl",
    "prost",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "tokio",
    "tonic",
    "ttrpc",
    "ureq",
];

/// Files of the programs with `unsafe` in them: system calls that no crate wraps safely.
const WITH_UNSAFE: [&str; 5] = [
    "dm/src/ioctl.rs",
    "shim/src/engine/birth.rs",
    "shim/src/engine/seccomp.rs",
    "shim/src/engine/signal.rs",
    "shim/src/log/command_line.rs",
];

fn cargo(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(words).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn crates_use_one_another_in_one_direction() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<_> = packages.iter().map(|of| of["name"].as_str().unwrap()).collect();
    let found: BTreeMap<_, BTreeSet<_>> = packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().unwrap().iter();
            let uses = uses.map(|of| of["name"].as_str().unwrap());
            (package["name"].as_str().unwrap(), uses.filter(|name| names.contains(name)).collect())
        })
        .collect();
    let house = HOUSE.map(|(name, uses)| (name, uses.iter().copied().collect()));
    assert_eq!(found, BTreeMap::from(house));
}

#[test]
fn nothing_of_a_daemon_is_in_the_program_that_starts_for_every_command() {
    let tree = cargo(&["tree", "-p=sharedroot", "-e=normal", "--prefix=none", "--offline"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("libcontainer"), "{tree}");
    let found: Vec<_> = OF_DAEMONS.iter().filter(|name| names.contains(**name)).collect();
    assert!(
        found.is_empty(),
        "{found:?} in the tree of sharedroot: `cargo tree -i NAME` says by whom"
    );
}

#[test]
fn unsafe_is_where_it_was_reviewed() {
    let mut found = BTreeSet::new();
    for of in ["dm/src", "shim/src"] {
        look(&top().join(of), &mut found);
    }
    assert_eq!(found, WITH_UNSAFE.map(str::to_owned).into());
}

/// Files below `dir` that have a line of code with the word.
fn look(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            look(&path, found);
        } else if path.extension().is_some_and(|of| of == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            if code
                .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
                .any(|word| word == "unsafe")
            {
                found.insert(path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
}
