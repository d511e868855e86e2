//! A guest from its boot to its end.

use std::fs;
use std::io::{Write, copy};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::directory::{Boot, Directory};
use super::evidence::{self, Kernel};
use crate::processor_time;

/// How often a request for a power cut is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A running guest. Dropping this value ends the guest.
#[derive(Debug)]
pub struct Guest {
    directory: Directory,
    child: Child,
    log: PathBuf,
    deadline: Instant,
    may_cut: bool,
    /// The processors' time, once the guest has ended.
    spent: Duration,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The script's exit code.
    Status(u8),
    /// The script asked for a power cut.
    PowerCut,
    /// The guest reached its limit and its kernel has no fault: the script did not end.
    Limit,
    /// The kernel broke: it logged a fault, or it does not answer. The text is the evidence.
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
    /// Boots a guest. The limit counts from now. [`Guest::extend`] sets another limit.
    pub fn boot(boot: &Boot<'_>) -> Result<Self> {
        let directory = Directory::make(boot)?;
        let (log, file) = Directory::log()?;
        drop(file);
        // A session is a process group and a scheduling group.
        let mut command = Command::new("setsid");
        command.arg("hack/lab.d/boot").arg(directory.path()).arg(&log);
        // The guest writes to pipes, because it would leave the caller's files in non-blocking mode.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context("start hack/lab.d/boot")?;
        let deadline = Instant::now() + boot.limit;
        Ok(Self {
            directory,
            child,
            log,
            deadline,
            may_cut: boot.disks.is_some(),
            spent: Duration::ZERO,
        })
    }

    /// The script's stdout and stderr; `None` on a second call.
    pub fn streams(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.child.stdout.take().zip(self.child.stderr.take())
    }

    /// The directory that is `/lab` in the guest.
    pub fn lab(&self) -> PathBuf {
        self.directory.lab()
    }

    /// The log of the guest's kernel, with the evidence that was added.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sets the limit, which counts from now.
    pub fn extend(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    /// Returns how the guest ended; `None` if it still runs. Ends the guest if it has reached its limit, or if its script asks
    /// for a power cut.
    pub fn look(&mut self) -> Result<Option<End>> {
        if self.may_cut && self.directory.lab().join("power-cut").exists() {
            self.kill();
            return Ok(Some(End::PowerCut));
        }
        if processor_time::has_ended(&self.child)? {
            self.spent = self.spent();
            self.child.wait()?;
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

    /// Waits for the end, and copies the script's output to this process's stdout and stderr meanwhile.
    pub fn relay(&mut self, mut out: impl Write + Send, mut err: impl Write + Send) -> Result<End> {
        let (mut stdout, mut stderr) = self.streams().context("the guest's streams")?;
        thread::scope(|scope| {
            let relays = [
                scope.spawn(move || copy(&mut stdout, &mut out)),
                scope.spawn(move || copy(&mut stderr, &mut err)),
            ];
            let end = self.wait();
            for relay in relays {
                // The caller may close its stdout or stderr early, which is no failure of the guest.
                let _ = relay.join();
            }
            end
        })
    }

    /// How long the guest's processes have kept a processor.
    pub fn spent(&self) -> Duration {
        self.spent.max(processor_time::of_groups(&self.groups()))
    }

    /// The process groups of the guest.
    fn groups(&self) -> Vec<Pid> {
        let own = Pid::from_child(&self.child);
        let pid = fs::read_to_string(self.directory.path().join("uml/pid"));
        let main = pid.ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        [Some(own), main.filter(|main| *main != own)].into_iter().flatten().collect()
    }

    /// Cuts the guest's power: sends SIGKILL to all processes of the guest at once.
    fn kill(&mut self) {
        let groups = self.groups();
        self.spent = processor_time::of_groups(&groups);
        for group in groups {
            // The processes have ended already.
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
