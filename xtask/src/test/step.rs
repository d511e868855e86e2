//! A command on this machine that must succeed.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::job::{Done, Out, Passes};
use crate::{process, temporary};

/// The temporary files of tests, in GiB: images and file systems, most of them sparse.
const ROOM: u64 = 4;

/// A command line for the shell.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    name: &'static str,
    command: &'static str,
    passes: Passes,
}

impl Step {
    /// The exit code is the result.
    pub const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command, passes: Passes::ByExitCode }
    }

    /// The command prints libtest's results.
    pub const fn of_tests(name: &'static str, command: &'static str) -> Self {
        Self { name, command, passes: Passes::ByResults }
    }

    /// Runs the command. Its output goes to its log, and to stdout if it fails.
    pub fn run(&self, out: &Out) -> Result<Done> {
        let Self { name, command, passes } = self;
        println!("== {name}: {command}");
        let (started, log) = (Instant::now(), out.log(name));
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        if *passes == Passes::ByResults {
            shell.env("TMPDIR", temporary::directory(ROOM));
        }
        let (ended, spent) = process::logged(&mut shell, &log)?;
        let fault = (!ended.success()).then(|| ended.to_string());
        let text = out.read(name)?;
        if fault.is_some() {
            print!("{text}");
        }
        let mut done = Done::new(name, &text, fault, *passes);
        (done.test, done.spent, done.here) = (started.elapsed(), spent, true);
        Ok(done)
    }
}
