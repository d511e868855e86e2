//! The floor below every mode: a container of `true` by bare system calls, without a runtime and without a root to make.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sharedroot_bench::Floor;
use sharedroot_tests::command::out;
use sharedroot_tests::lab::TempDir;

use crate::oci::{make_cgroup, make_directories};
use crate::options::Options;

/// A bundle as of a pod of `plain`, with a program that ends.
///
/// The directory must live as long as the floor.
pub fn prepare(options: &Options) -> (TempDir, Floor) {
    let dir = TempDir::new("floor");
    let root = dir.0.join("root");
    fs::create_dir(&root).expect("make the root");
    make_directories(&root);
    let program = options.programs.join("true");
    fs::copy(&program, root.join("true"))
        .unwrap_or_else(|e| panic!("copy {}: {e}", program.display()));
    out(&["runc", "spec", "--bundle", dir.str()]);
    let path = dir.0.join("config.json");
    let read = fs::read(&path).expect("read config.json");
    let mut spec: Value = serde_json::from_slice(&read).expect("config.json is JSON");
    spec["process"]["args"] = json!(["/true"]);
    spec["root"] = json!({"path": root, "readonly": true});
    fs::write(&path, spec.to_string()).expect("write config.json");
    let floor = Floor::new(dir.0.clone(), PathBuf::from(make_cgroup()).join("floor"));
    (dir, floor)
}
