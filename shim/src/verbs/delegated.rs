//! The verbs on a container whose engine is another OCI runtime: each is a call of that program, which this process waits for.
//!
//! The other runtime tells its errors in its log, because its standard error is the container's when it makes a process. The log
//! is a file in memory, which is gone with this process.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;
use serde_json::Value;
use sharedroot_engine::{Argv, Delegate, DelegateError, Figures, PidNamespace, Reach, read_config};

use super::VerbError;
use crate::lifecycle::{Container, LifecycleError};

/// The most bytes of a log that are read: the last error is behind warnings.
const MOST: u64 = 1 << 20;

/// What another runtime says while this process calls it.
#[derive(Debug)]
pub struct Said(File);

/// A line of a log in JSON.
#[derive(Debug, Deserialize)]
struct Line {
    level: String,
    msg: String,
}

impl Said {
    /// An empty log.
    ///
    /// # Errors
    /// memfd_create(2)'s.
    pub fn new() -> io::Result<Self> {
        Ok(Self(memfd_create("log", MemfdFlags::CLOEXEC)?.into()))
    }

    /// The path by which the other runtime opens the log.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// The last error.
    fn last(&self) -> Option<String> {
        let mut file = &self.0;
        file.rewind().ok()?;
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text).ok()?;
        let lines = text.split(|byte| *byte == b'\n');
        let mut lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        lines.rfind(|line| line.level == "error").map(|line| line.msg)
    }
}

/// A container of another runtime, and the verb under way.
#[derive(Debug)]
pub struct Delegated<'a> {
    /// The container.
    pub container: &'a Container,
    /// The other runtime.
    pub delegate: &'a Delegate,
    /// The verb.
    pub verb: &'static str,
    /// What the other runtime says.
    pub said: &'a Said,
}

impl Delegated<'_> {
    /// An error, if the other runtime ended with another status than 0.
    pub fn check(&self, status: u8) -> Result<(), VerbError> {
        if status == 0 {
            return Ok(());
        }
        let said = self.said.last().unwrap_or_else(|| format!("it ended with status {status}"));
        Err(self.failed(said))
    }

    fn failed(&self, said: String) -> VerbError {
        let (id, engine) = (self.container.id().to_string(), self.delegate.program().display());
        VerbError::Delegate { verb: self.verb, id, engine: engine.to_string(), said }
    }

    /// The verb's call of the other runtime, without flags.
    fn argv(&self) -> Argv {
        Argv::new(self.delegate.dialect(), self.verb)
    }

    fn call(&self, argv: &Argv) -> Result<(), VerbError> {
        self.check(self.delegate.call(argv, || {})?)
    }

    /// `start`.
    pub fn start(&self) -> Result<(), VerbError> {
        self.call(&self.argv().id(self.container.id().as_str()))
    }

    /// `kill`.
    pub fn kill(&self, signal: u32, reach: Reach) -> Result<(), VerbError> {
        let argv = self.argv().flag("--all", reach == Reach::All);
        self.call(&argv.id(self.container.id().as_str()).rest(&[signal.to_string()]))
    }

    /// `exec`. Returns the process, which is a child of whoever adopts the children of the other runtime.
    pub fn exec(&self, process: &[u8], console_socket: Option<PathBuf>) -> Result<Pid, VerbError> {
        self.with_file("process", process, |process| {
            let pid_file = process.with_extension("pid");
            let argv = self.argv().value("--process", Some(process)).flag("--detach", true);
            let argv = argv.value("--pid-file", Some(&pid_file));
            let argv = argv.value("--console-socket", console_socket.as_ref());
            let called = self.call(&argv.id(self.container.id().as_str()));
            let pid = called.and_then(|()| self.pid(&pid_file));
            let _ = fs::remove_file(pid_file);
            pid
        })
    }

    /// The PID namespace, by the configuration that the other runtime read.
    pub fn pids(bundle: &Path) -> Result<PidNamespace, VerbError> {
        Ok(PidNamespace::of(&read_config(&bundle.join("config.json"))?))
    }

    /// The process ID in a file that the other runtime has written.
    pub fn pid(&self, file: &Path) -> Result<Pid, VerbError> {
        let text = fs::read_to_string(file).map_err(|source| {
            VerbError::from(LifecycleError::File { step: "read", path: file.to_owned(), source })
        })?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw);
        pid.ok_or_else(|| self.failed(format!("{text:?} is no process ID")))
    }

    /// `ps`.
    pub fn processes(&self) -> Result<Vec<i32>, VerbError> {
        let listed = self.delegate.processes()?;
        listed.ok_or_else(|| self.failed("the container does not exist".to_owned()))
    }

    /// The figures of the container's cgroup; `None` on cgroup v1, and if the container has ended.
    pub fn figures(&self) -> Result<Option<Figures>, VerbError> {
        Ok(self.delegate.figures()?)
    }

    /// `resume`.
    pub fn resume(&self) -> Result<(), VerbError> {
        self.check(self.delegate.resume()?)
    }

    /// `update`, by the JSON text of the limits.
    pub fn update(&self, resources: &[u8]) -> Result<(), VerbError> {
        self.with_file("limits", resources, |resources| {
            let argv = self.argv().value("--resources", Some(resources));
            self.call(&argv.id(self.container.id().as_str()))
        })
    }

    /// Gives the other runtime a JSON text as a file beside the record.
    fn with_file<T>(
        &self,
        what: &str,
        text: &[u8],
        act: impl FnOnce(PathBuf) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        let text: Value = serde_json::from_slice(text)
            .map_err(|error| self.failed(format!("the request is no JSON: {error}")))?;
        let name = format!("{what}-{}.json", std::process::id());
        let file = self.container.scratch(&name, &text)?;
        let done = act(file.clone());
        let _ = fs::remove_file(file);
        done
    }
}

impl From<DelegateError> for VerbError {
    fn from(error: DelegateError) -> Self {
        Self::Lifecycle(error.into())
    }
}
