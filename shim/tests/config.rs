//! `config`: what the program itself says of the file and the environment. Needs no privilege.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A configuration file of that text. Dropping it removes it.
struct File(PathBuf);

impl File {
    fn of(name: &str, text: &str) -> Self {
        let name = format!("sharedroot-config-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).expect("write a configuration");
        Self(path)
    }

    fn show(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sharedroot"))
            .arg("--config")
            .arg(&self.0)
            .args(["config", "show"])
            .args(words)
            .envs(variables.iter().copied())
            .output()
            .expect("run sharedroot")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_value_is_shown_with_its_origin() {
    let file = File::of("show", "[base]\nsize = \"3G\"\nwait = false\n");
    let shown = file.show(&["--json"], &[("SHAREDROOT_BASE_WAIT", "true")]);
    assert!(shown.status.success(), "{shown:?}");
    let json: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let key = |name: &str| {
        let keys = json["keys"].as_array().expect("a list");
        keys.iter().find(|key| key["key"] == name).expect("the key")
    };
    let path = file.0.to_str().expect("ASCII");
    assert_eq!((&json["version"], &json["exists"]), (&1.into(), &true.into()));
    assert_eq!(
        (&key("base.size")["value"], &key("base.size")["origin"]),
        (&"\"3G\"".into(), &path.into())
    );
    assert_eq!(key("base.wait")["value"], "true");
    assert_eq!(key("base.wait")["origin"], "SHAREDROOT_BASE_WAIT");
    assert_eq!(key("pool.name")["origin"], "default");
    assert_eq!(key("pool.lvm")["value"], Value::Null);
    let text = String::from_utf8(file.show(&[], &[]).stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("base.size ")).expect("the key");
    assert!(line.contains("\"3G\"") && line.ends_with(path), "{line}");
}

#[test]
fn a_file_that_cannot_be_used_is_an_error_of_one_line() {
    let says = |text: &str, variables: &[(&str, &str)]| {
        let failed = File::of("bad", text).show(&[], variables);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(failed.stdout.is_empty(), "{failed:?}");
        String::from_utf8(failed.stderr).expect("UTF-8")
    };
    let said = says("[pool]\nnaem = \"x\"\n", &[]);
    assert!(said.contains("`pool.naem`") && said.contains("`pool.name`"), "{said}");
    let said = says("", &[("SHAREDROOT_BASE_SIZE", "lots")]);
    assert!(said.contains("SHAREDROOT_BASE_SIZE") && said.contains("lots"), "{said}");
}
