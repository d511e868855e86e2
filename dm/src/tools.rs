//! thin-provisioning-tools, run as programs. The format of a pool's metadata belongs to the kernel and to these tools, so this
//! crate does not check or repair it itself.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

/// The directories of the tools. The PATH of the caller is never used, because the tools run as root.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A tool that could not be run, or that failed.
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
        /// What the tool printed.
        said: String,
    },
}

/// Runs a tool to its end and returns what it printed.
///
/// The tool gets the caller's lock as its standard input. So a lock whose holder is killed stays held until the tool has ended,
/// and nobody uses metadata that the tool still writes.
///
/// # Errors
/// The tool is not installed, cannot be started, or fails; then the error has what the tool printed.
pub(crate) fn run(
    tool: &'static str,
    arguments: &[&OsStr],
    lock: &File,
) -> Result<String, ToolError> {
    let failed = |source| ToolError::Run { tool, source };
    let found = PLACES
        .map(|dir| Path::new(dir).join(tool))
        .into_iter()
        .find(|program| program.is_file())
        .ok_or(ToolError::Missing { tool })?;
    let lock = lock.try_clone().map_err(failed)?;
    let output =
        Command::new(found).args(arguments).env_clear().stdin(lock).output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // The standard output has figures. Its text is used only if the tool printed nothing else.
    let said = [output.stderr, output.stdout]
        .map(|text| String::from_utf8_lossy(&text).trim().replace('\n', "; "))
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| output.status.to_string());
    Err(ToolError::Said { tool, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_kept() {
        let lock = &File::open("/dev/null").expect("open");
        assert_eq!(run("echo", &[OsStr::new("yes")], lock).expect("echo"), "yes\n");
        let error = run("cat", &[OsStr::new("/no/such/file")], lock).expect_err("no such file");
        assert!(error.to_string().starts_with("cat: ") && error.to_string().contains("/no/such"));
        let error = run("no-such-tool", &[], lock).expect_err("no such tool");
        assert!(error.to_string().contains("thin-provisioning-tools"), "{error}");
    }
}
