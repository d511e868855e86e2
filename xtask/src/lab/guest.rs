//! A guest from its boot to its end.

use std::fs;
use std::io::{Write, copy};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::directory::{Boot, Directory};
use super::evidence::{self, Kernel};

/// How long a power-cut request may wait.
const LOOK: Duration = Duration::from_millis(20);

/// A running guest. Dropping it ends it.
#[derive(Debug)]
pub struct Guest {
    directory: Directory,
    child: Child,
    log: PathBuf,
    deadline: Instant,
    may_cut: bool,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The script's exit code.
    Status(u8),
    /// The script asked for a power cut.
    PowerCut,
    /// The limit struck while the kernel was well: what ran in the guest did not end.
    Limit,
    /// The kernel broke, with what shows it: it said that it panicked, or it answers no more.
    Broken(String),
}

impl End {
    /// The exit code of `hack/lab run`.
    pub fn code(&self) -> u8 {
        match self {
            Self::Status(code) => *code,
            Self::PowerCut => 123,
            Self::Limit => 124,
            Self::Broken(_) => 125,
        }
    }
}

impl Guest {
    /// Boots a guest. The limit counts from here; [`Guest::extend`] sets another.
    pub fn boot(boot: &Boot<'_>) -> Result<Self> {
        let directory = Directory::make(boot)?;
        let (log, file) = Directory::log()?;
        drop(file);
        let mut command = Command::new("hack/lab.d/boot");
        command.arg(directory.path()).arg(&log);
        // The guest writes to pipes, never to the caller's files: it would leave them in non-blocking mode.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn().context("start hack/lab.d/boot")?;
        let deadline = Instant::now() + boot.limit;
        Ok(Self { directory, child, log, deadline, may_cut: boot.disks.is_some() })
    }

    /// What the script writes, once.
    pub fn streams(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.child.stdout.take().zip(self.child.stderr.take())
    }

    /// What is `/lab` in the guest.
    pub fn lab(&self) -> PathBuf {
        self.directory.lab()
    }

    /// What the guest's kernel says, and what is found out about it.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The limit counts from now.
    pub fn extend(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    /// Looks whether the guest has ended; ends it where its limit struck or its script wants a power cut.
    pub fn look(&mut self) -> Result<Option<End>> {
        if self.may_cut && self.directory.lab().join("power-cut").exists() {
            self.kill();
            return Ok(Some(End::PowerCut));
        }
        if self.child.try_wait()?.is_some() {
            if self.may_cut && self.directory.lab().join("power-cut").exists() {
                return Ok(Some(End::PowerCut));
            }
            let end = match self.directory.status() {
                Some(status) => End::Status(status),
                None => End::Broken(evidence::of_ended(&self.log)),
            };
            return Ok(Some(end));
        }
        if Instant::now() < self.deadline {
            return Ok(None);
        }
        let kernel = evidence::of_running(self.directory.path(), &self.log);
        self.kill();
        Ok(Some(match kernel {
            Kernel::Well => End::Limit,
            Kernel::Broken(why) => End::Broken(why),
        }))
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Result<End> {
        loop {
            if let Some(end) = self.look()? {
                return Ok(end);
            }
            sleep(LOOK);
        }
    }

    /// Waits for the end, and sends on meanwhile what the script writes.
    pub fn relay(&mut self, mut out: impl Write + Send, mut err: impl Write + Send) -> Result<End> {
        let (mut stdout, mut stderr) = self.streams().context("the guest's streams")?;
        thread::scope(|scope| {
            let relays = [
                scope.spawn(move || copy(&mut stdout, &mut out)),
                scope.spawn(move || copy(&mut stderr, &mut err)),
            ];
            let end = self.wait();
            for relay in relays {
                // A reader that has gone is no fault of the guest's.
                let _ = relay.join();
            }
            end
        })
    }

    /// SIGKILL to all of the guest's processes at once: its power is cut.
    fn kill(&mut self) {
        let own = Pid::from_child(&self.child);
        let pid = fs::read_to_string(self.directory.path().join("uml/pid"));
        let main = pid.ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        for group in [Some(own), main].into_iter().flatten() {
            // A group that is gone is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}
