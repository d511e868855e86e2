//! The programs of e2fsprogs, as this crate runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sharedroot_format::base::FIXED_TIME;

use crate::error::MakeError;

/// The directories that may have the programs. The caller's PATH is never asked: these programs run as root.
pub const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program of e2fsprogs, with an environment of its own and nothing of the caller's.
pub(super) struct Tool {
    program: PathBuf,
    pub(super) command: Command,
}

impl Tool {
    /// Looks for the program in [`PLACES`].
    pub(super) fn find(program: &'static str) -> Result<Self, MakeError> {
        let program = PLACES
            .iter()
            .map(|place| Path::new(place).join(program))
            .find(|path| path.is_file())
            .ok_or_else(|| MakeError::NoTool { program, places: PLACES.join(", ") })?;
        let mut command = Command::new(&program);
        command.env_clear().env("LC_ALL", "C").env("E2FSPROGS_FAKE_TIME", FIXED_TIME.to_string());
        command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self { program, command })
    }

    /// Runs the program to its end.
    pub(super) fn output(&mut self, stdin: Stdio) -> Result<Output, MakeError> {
        let child = self.command.stdin(stdin).spawn().and_then(|child| child.wait_with_output());
        child.map_err(|source| MakeError::Start { program: self.program.clone(), source })
    }

    /// Runs the program to its end. Fails with the program's own words unless `succeeded` says that it did its work.
    pub(super) fn run(
        mut self,
        device: &Path,
        stdin: Stdio,
        succeeded: impl FnOnce(&Output) -> bool,
    ) -> Result<(), MakeError> {
        let output = self.output(stdin)?;
        if succeeded(&output) {
            return Ok(());
        }
        Err(MakeError::Tool {
            program: self.program,
            device: device.to_owned(),
            status: output.status.to_string(),
            stderr: first_lines(&output.stderr),
        })
    }
}

/// The first five lines that are not empty, in one line.
fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(5).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_on_one() {
        assert_eq!(first_lines(b"\n a \n\nb\n"), "a; b");
        assert_eq!(first_lines(b"1\n2\n3\n4\n5\n6\n"), "1; 2; 3; 4; 5");
        assert_eq!(first_lines(b""), "");
    }
}
