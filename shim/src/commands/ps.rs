//! `ps`: the processes of a container.

use std::process::Command;

use serde_json::json;
use sharedroot_engine::Embedded;

use super::file_error::read_error;
use crate::cli::{Format, Ps};
use crate::lifecycle::LifecycleError;
use crate::output::say;

/// Prints the processes of a container of the embedded engine. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn ps(embedded: &Embedded, args: &Ps) -> Result<u8, LifecycleError> {
    let pids = embedded.processes()?;
    match args.format {
        Format::Json => {
            say!("{}", json!(pids));
            Ok(0)
        }
        Format::Table => table(&pids, &args.ps_options),
    }
}

/// Prints the lines of ps(1) about `pids`. Returns the exit status.
///
/// # Errors
/// [`LifecycleError::File`] if there is no ps.
pub fn table(pids: &[i32], ps_options: &[String]) -> Result<u8, LifecycleError> {
    let default = ["-ef".to_owned()];
    let options = if ps_options.is_empty() { &default } else { ps_options };
    let output = Command::new("ps").args(options).output().map_err(read_error("ps"))?;
    let table = String::from_utf8_lossy(&output.stdout);
    let mut lines = table.lines();
    let Some(head) = lines.next() else { return Ok(0) };
    say!("{head}");
    let column = head.split_whitespace().position(|word| word == "PID");
    for line in lines {
        let pid = column.and_then(|at| line.split_whitespace().nth(at)?.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            say!("{line}");
        }
    }
    Ok(0)
}
