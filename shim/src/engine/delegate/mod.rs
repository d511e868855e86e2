//! Another OCI runtime as the engine: it gets the caller's own bundle, whose root is ours by then,
//! and every later command about the container.
//!
//! Where nothing is left for us to do afterwards the delegate takes the place of this process
//! (execve). Where a failure must leave nothing behind it is a child, and we wait.

mod child;
mod orphan;
mod words;

pub use child::{attend, callers_mask, hold, let_go};

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Pid;
use serde_json::{Value, json};

use super::choice::{Dialect, Program};
use super::stats;
use crate::bundle::ContainerId;
use crate::cli::{Delete, Format, Global, Id, Ps, Verb};
use crate::starts;

/// A delegate that could not be asked, or has no word for the question.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// crun's command line has less than runc's.
    #[error(
        "{verb} {id}: the engine {program} has no {what}; leave it out, or create the container \
         with --engine runc"
    )]
    Unknown {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The program.
        program: PathBuf,
        /// The flag or verb.
        what: &'static str,
    },
    /// The program does not start.
    #[error("start the engine {program} for {verb} {id}: {source}")]
    Start {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The program.
        program: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It answered something else than was asked for.
    #[error("{verb} {id}: the engine {program} answered {answer:?}, which is not what runc prints")]
    Answer {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The program.
        program: PathBuf,
        /// The beginning of it.
        answer: String,
    },
}

/// One container of a delegate.
#[derive(Debug)]
pub struct Delegate {
    program: Program,
    /// The delegate's own state directory, which it calls `--root`.
    state: PathBuf,
    id: ContainerId,
    /// The flags before the verb.
    global: Vec<OsString>,
}

impl Delegate {
    /// The container `id` in the delegate's state directory `state`; it need not exist.
    #[must_use]
    pub fn new(program: &Program, state: &Path, id: &ContainerId, global: &Global) -> Self {
        Self {
            program: program.clone(),
            state: state.to_owned(),
            id: id.clone(),
            global: words::global(global, state.as_os_str()),
        }
    }

    /// The command line that the delegate understands.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.program.dialect
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// Becomes the delegate; returns only on failure.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn take_over(&self, verb: &Verb) -> Result<u8, DelegateError> {
        let words = self.words(verb)?;
        let mut command = Command::new(&self.program.path);
        command.args(&self.global).args(words).env_clear().envs(starts::environment());
        let source = command.exec();
        Err(self.cannot_start(verb.name(), source))
    }

    /// Runs the delegate to its end and returns its exit status; what went wrong it has said
    /// itself. `known` is called once, as soon as the delegate knows the container.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn call(&self, verb: &Verb, known: impl FnOnce()) -> Result<u8, DelegateError> {
        let mut known = Some(known);
        self.run(verb, |_| {
            if self.has_traces()
                && let Some(known) = known.take()
            {
                known();
            }
            known.is_none()
        })
    }

    /// The same for a verb that ends before its container does: if this process is killed,
    /// [`Delegate::end_orphan`] knows of the delegate.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn call_noted(&self, verb: &Verb) -> Result<u8, DelegateError> {
        let mut note = None;
        self.run(verb, |child| {
            match orphan::Note::of(&self.state, &self.id, child) {
                Ok(noted) => note = Some(noted),
                Err(error) => tracing::warn!("note {} of {}: {error}", verb.name(), self.id),
            }
            true
        })
    }

    fn run(&self, verb: &Verb, settled: impl FnMut(Pid) -> bool) -> Result<u8, DelegateError> {
        let mut words = self.global.clone();
        words.extend(self.words(verb)?);
        child::run(&self.program.path, &words, settled)
            .map_err(|source| self.cannot_start(verb.name(), source))
    }

    /// Waits for a `create` of the delegate that outlived its caller, and ends it if need be.
    pub fn end_orphan(&self) {
        if let Err(error) = orphan::end(&self.state, &self.id) {
            tracing::warn!("end what a killed create of {} left behind: {error}", self.id);
        }
    }

    /// Whether the delegate's state directory has anything of that ID, as runc's and crun's have
    /// for every container. Asks nobody.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        self.state.join(self.id.as_str()).exists()
    }

    /// Where crun keeps its copy of the container's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.state.join(self.id.as_str()).join("config.json")
    }

    /// Whether the delegate has the container.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn exists(&self) -> Result<bool, DelegateError> {
        Ok(self.has_traces() || self.state()?.is_some())
    }

    /// Removes whatever a failed verb left of the container in the delegate. Nothing is said.
    pub fn clear(&self) {
        let delete = Verb::Delete(Delete { force: true, id: self.id.to_string() });
        if let Err(error) = self.ask(&delete) {
            tracing::warn!("{error}");
        }
    }

    /// What the delegate's `state` prints; `None` if it knows no such container.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn state(&self) -> Result<Option<Value>, DelegateError> {
        self.answer(&Verb::State(Id { id: self.id.to_string() }))
    }

    /// The container's processes, as this process's namespace counts them.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn processes(&self) -> Result<Option<Vec<i32>>, DelegateError> {
        let ps = Ps { format: Format::Json, id: self.id.to_string(), ps_options: Vec::new() };
        self.answer(&Verb::Ps(ps))
    }

    /// One event of `events --stats` in runc's form, of a container whose delegate has no `events`.
    /// `None` if it does not run, or where its cgroup is not of version 2.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn event(&self) -> Result<Option<Value>, DelegateError> {
        let state = self.state()?;
        let pid = state.and_then(|state| state["pid"].as_i64()).filter(|pid| *pid > 0);
        let dir = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(stats::unified);
        let event = |dir: PathBuf| json!({ "type": "stats", "id": self.id.as_str(), "data": stats::of_unified(&dir) });
        Ok(dir.map(event))
    }

    fn answer<T: serde::de::DeserializeOwned>(
        &self,
        verb: &Verb,
    ) -> Result<Option<T>, DelegateError> {
        let Some(text) = self.ask(verb)? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|_| DelegateError::Answer {
            verb: verb.name(),
            id: self.id.clone(),
            program: self.program.path.clone(),
            // A state that was cut short has annotations in it.
            answer: String::from_utf8_lossy(&text)
                .chars()
                .take_while(|c| *c != '{')
                .take(200)
                .collect(),
        })
    }

    /// What the delegate prints, without its log and its complaints; `None` if it fails.
    fn ask(&self, verb: &Verb) -> Result<Option<Vec<u8>>, DelegateError> {
        let mut root = OsString::from("--root=");
        root.push(&self.state);
        let output = Command::new(&self.program.path)
            .arg(root)
            .args(words::of(self.program.dialect, verb).map_err(self.unknown(verb))?)
            .env_clear()
            .envs(starts::environment())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|source| self.cannot_start(verb.name(), source))?;
        Ok(output.status.success().then_some(output.stdout))
    }

    fn words(&self, verb: &Verb) -> Result<Vec<OsString>, DelegateError> {
        words::of(self.program.dialect, verb).map_err(self.unknown(verb))
    }

    fn unknown(&self, verb: &Verb) -> impl FnOnce(&'static str) -> DelegateError {
        let (verb, id, program) = (verb.name(), self.id.clone(), self.program.path.clone());
        move |what| DelegateError::Unknown { verb, id, program, what }
    }

    fn cannot_start(&self, verb: &'static str, source: std::io::Error) -> DelegateError {
        let (id, program) = (self.id.clone(), self.program.path.clone());
        DelegateError::Start { verb, id, program, source }
    }
}

/// Becomes the engine of new containers to print what it supports; returns only on failure.
pub fn features(program: &Program) -> std::io::Error {
    Command::new(&program.path).arg("features").exec()
}
