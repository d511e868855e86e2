//! Commands on this machine.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

use crate::processor_time;

/// Runs a command that must succeed.
pub fn succeeds(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    ensure!(status.success(), "{} ended with {status}", line(command));
    Ok(())
}

/// Runs a command to its end.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("start {}", line(command)))
}

/// What a command that must succeed prints on its standard output, without the last newline.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("start {}", line(command)))?;
    ensure!(done.status.success(), "{} ended with {}", line(command), done.status);
    Ok(String::from_utf8(done.stdout)?.trim_end().to_owned())
}

/// Runs a command to its end. Its output goes to a file. Also returns the processors' time.
pub fn logged(command: &mut Command, log: &Path) -> Result<(ExitStatus, Duration)> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().with_context(|| format!("start {}", line(command)))?;
    processor_time::until_end(&child)?;
    let spent = processor_time::of_process(Pid::from_child(&child));
    Ok((child.wait()?, spent))
}

/// The command line, for messages.
pub fn line(command: &Command) -> String {
    format!("{command:?}").replace('"', "")
}
