//! The integration tests' executables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::program::Program;

/// Compiles the integration tests, and copies the executables to `dir` under their names. The output of cargo goes to `log`.
/// Only these executables have the failure points; the program itself is built by another command.
pub fn into(dir: &Path, programs: &[Program], log: impl Into<Stdio>) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.args(["-p", "sharedroot-dm", "-p", "sharedroot-tests"]);
    cargo.args(["--features", "sharedroot-dm/failpoints"]);
    let files: BTreeSet<_> = programs.iter().map(|program| program.file.as_str()).collect();
    cargo.args(files.iter().flat_map(|file| ["--test", file]));
    let done = cargo.stdin(Stdio::null()).stderr(log).output().context("start cargo")?;
    ensure!(done.status.success(), "cargo test --no-run ended with {}", done.status);
    for line in String::from_utf8(done.stdout)?.lines() {
        link(&serde_json::from_str(line)?, dir)?;
    }
    if let Some(missing) = programs.iter().find(|program| !dir.join(&program.file).exists()) {
        bail!("cargo made no {}", missing.file);
    }
    Ok(())
}

/// Handles a message of cargo about an integration test.
fn link(message: &Value, dir: &Path) -> Result<()> {
    let target = &message["target"];
    let (Some(executable), Some(name)) = (message["executable"].as_str(), target["name"].as_str())
    else {
        return Ok(());
    };
    if target["kind"][0] != "test" {
        return Ok(());
    }
    let to = dir.join(name);
    let _ = fs::remove_file(&to);
    if fs::hard_link(executable, &to).is_err() {
        fs::copy(executable, &to).with_context(|| format!("copy {executable}"))?;
    }
    Ok(())
}
