//! thin-provisioning-tools, run as programs: the format of a pool's metadata is the kernel's and theirs.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Searched after PATH: a runtime inherits the PATH of its engine, and that of a service may lack them.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A tool that could not be run, or that said no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The tool is not installed.
    #[error("{tool} is not installed; install the package thin-provisioning-tools")]
    Missing {
        /// The program.
        tool: &'static str,
    },
    /// The tool could not be started.
    #[error("cannot run {tool}")]
    Run {
        /// The program.
        tool: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The tool failed.
    #[error("{tool}: {said}")]
    Said {
        /// The program.
        tool: &'static str,
        /// What it printed.
        said: String,
    },
}

/// Runs a tool to its end and returns what it printed.
pub(crate) fn run(tool: &'static str, arguments: &[&OsStr]) -> Result<String, ToolError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|dir| dir.join(tool))
        .find(|program| program.is_absolute() && program.is_file())
        .ok_or(ToolError::Missing { tool })?;
    let output = Command::new(found)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolError::Run { tool, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stderr, output.stdout]
        .map(|text| String::from_utf8_lossy(&text).trim().replace('\n', "; "))
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>();
    let said = if said.is_empty() { output.status.to_string() } else { said.join("; ") };
    Err(ToolError::Said { tool, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_kept() {
        assert_eq!(run("echo", &[OsStr::new("yes")]).expect("echo"), "yes\n");
        let error = run("cat", &[OsStr::new("/no/such/file")]).expect_err("no such file");
        assert!(error.to_string().starts_with("cat: ") && error.to_string().contains("/no/such"));
        let error = run("no-such-tool", &[]).expect_err("no such tool");
        assert!(error.to_string().contains("thin-provisioning-tools"), "{error}");
    }
}
