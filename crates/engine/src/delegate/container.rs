//! Another OCI runtime as the engine. The delegate gets the caller's own bundle, whose root sharedroot has replaced by
//! then, and every later command about the container.
//!
//! If sharedroot has nothing left to do afterwards, the delegate takes the place of this process (execve). If a failure
//! must leave nothing behind, the delegate is a child, and this process waits for the delegate.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Pid;
use serde_json::{Value, json};
use sharedroot_format::ContainerId;
use sharedroot_sys::chain::chain;
use sharedroot_sys::process_start::environment;

use super::argv::Argv;
use super::error::DelegateError;
use super::orphan;
use crate::asked::Deletion;
use crate::choice::{Dialect, Program};
use crate::container::figures::Figures;
use crate::container::stats;
use crate::process::child;

/// One container of a delegate.
#[derive(Debug)]
pub struct Delegate {
    program: Program,
    /// The delegate's own state directory, the value of its flag `--root`.
    state: PathBuf,
    id: ContainerId,
    /// The flags before the verb, except `--root`.
    global: Argv,
}

impl Delegate {
    /// The container `id` in the delegate's state directory `state`. The container need not exist.
    #[must_use]
    pub fn new(program: &Program, state: &Path, id: &ContainerId, global: Argv) -> Self {
        Self { program: program.clone(), state: state.to_owned(), id: id.clone(), global }
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

    /// Replaces this process by the delegate. Returns only on failure.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn take_over(&self, argv: &Argv) -> Result<u8, DelegateError> {
        let mut command = Command::new(&self.program.path);
        command.args(self.line(argv)?).env_clear().envs(environment());
        let source = command.exec();
        Err(self.cannot_start(argv.verb(), source))
    }

    /// Runs the delegate until it ends, and returns its exit status. The delegate itself reports its errors. `known` is
    /// called once, as soon as the delegate's state directory has the container.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn call(&self, argv: &Argv, known: impl FnOnce()) -> Result<u8, DelegateError> {
        let mut known = Some(known);
        self.run(argv, |_| {
            if self.has_traces()
                && let Some(known) = known.take()
            {
                known();
            }
            known.is_none()
        })
    }

    /// Runs a delegate's verb that ends before its container does, and keeps a note of the delegate's process. If this
    /// process is killed, a later [`Delegate::end_orphan`] finds the delegate by that note.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn call_noted(&self, argv: &Argv) -> Result<u8, DelegateError> {
        let mut note = None;
        self.run(argv, |child| {
            match orphan::Note::of(&self.state, &self.id, child) {
                Ok(noted) => note = Some(noted),
                Err(error) => tracing::warn!("note {} of {}: {error}", argv.verb(), self.id),
            }
            true
        })
    }

    fn run(&self, argv: &Argv, settled: impl FnMut(Pid) -> bool) -> Result<u8, DelegateError> {
        child::run(&self.program.path, &self.line(argv)?, settled)
            .map_err(|source| self.cannot_start(argv.verb(), source))
    }

    /// Removes the container, and returns the exit status. The delegate itself reports its errors.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn delete(&self, asked: Deletion) -> Result<u8, DelegateError> {
        self.call(&self.delete_line(asked), || {})
    }

    /// Freezes the container, and returns the exit status, as [`Delegate::delete`] does.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn pause(&self) -> Result<u8, DelegateError> {
        self.call(&self.argv("pause").id(self.id.as_str()), || {})
    }

    /// Thaws the container, and returns the exit status, as [`Delegate::delete`] does.
    ///
    /// # Errors
    /// [`DelegateError`]; the delegate did not run.
    pub fn resume(&self) -> Result<u8, DelegateError> {
        self.call(&self.argv("resume").id(self.id.as_str()), || {})
    }

    fn delete_line(&self, asked: Deletion) -> Argv {
        self.argv("delete").flag("--force", asked == Deletion::Forced).id(self.id.as_str())
    }

    /// Waits for a `create` of the delegate whose caller was killed, and kills the delegate if it takes too long.
    pub fn end_orphan(&self) {
        if let Err(error) = orphan::end(&self.state, &self.id) {
            tracing::warn!(
                "end the process that a killed create of {} left behind: {error}",
                self.id
            );
        }
    }

    /// Whether the delegate's state directory has an entry of that ID, as runc's and crun's have for every container.
    /// This does not call the delegate.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        self.state.join(self.id.as_str()).exists()
    }

    /// The directory where crun keeps its copy of the container's configuration.
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

    /// Removes what a failed verb left of the container in the delegate. Nothing is reported.
    pub fn clear(&self) {
        if let Err(error) = self.ask(&self.delete_line(Deletion::Forced)) {
            tracing::warn!("{}", chain(&error));
        }
    }

    /// The output of the delegate's `state`; `None` if the delegate has no such container.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn state(&self) -> Result<Option<Value>, DelegateError> {
        self.answer(&self.argv("state").id(self.id.as_str()))
    }

    /// The container's processes, as this process's PID namespace numbers them.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn processes(&self) -> Result<Option<Vec<i32>>, DelegateError> {
        self.answer(&self.argv("ps").value("--format", Some("json")).id(self.id.as_str()))
    }

    /// One event of `events --stats` in runc's form, for a container whose delegate has no `events`. `None` if the
    /// container does not run, or if its cgroup is not of version 2.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn event(&self) -> Result<Option<Value>, DelegateError> {
        let event = |dir: PathBuf| json!({ "type": "stats", "id": self.id.as_str(), "data": stats::of_unified(&dir) });
        Ok(self.cgroup()?.map(event))
    }

    /// The figures of the container's cgroup; `None` as with [`Self::event`].
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn figures(&self) -> Result<Option<Figures>, DelegateError> {
        Ok(self.cgroup()?.map(|dir| Figures::read(&dir)))
    }

    /// The container's `memory.events`; `None` as with [`Self::event`], and if the memory controller is off.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn memory_events(&self) -> Result<Option<File>, DelegateError> {
        Ok(self.cgroup()?.and_then(|dir| File::open(dir.join("memory.events")).ok()))
    }

    /// The cgroup of the init process, of version 2.
    fn cgroup(&self) -> Result<Option<PathBuf>, DelegateError> {
        Ok(self.init()?.and_then(stats::unified))
    }

    /// The init process; `None` if it has ended.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn init(&self) -> Result<Option<i32>, DelegateError> {
        let pid = self.state()?.and_then(|state| state["pid"].as_i64());
        Ok(pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0))
    }

    fn answer<T: serde::de::DeserializeOwned>(
        &self,
        argv: &Argv,
    ) -> Result<Option<T>, DelegateError> {
        let Some(text) = self.ask(argv)? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|_| DelegateError::Answer {
            verb: argv.verb(),
            id: self.id.clone(),
            program: self.program.path.clone(),
            // The text from `{` on is left out, because the state contains the container's annotations.
            answer: String::from_utf8_lossy(&text)
                .chars()
                .take_while(|c| *c != '{')
                .take(200)
                .collect(),
        })
    }

    /// The delegate's standard output, without its log and its messages; `None` if the delegate fails.
    fn ask(&self, argv: &Argv) -> Result<Option<Vec<u8>>, DelegateError> {
        let output = Command::new(&self.program.path)
            .arg(self.root())
            .args(argv.words().map_err(self.unknown(argv))?)
            .env_clear()
            .envs(environment())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|source| self.cannot_start(argv.verb(), source))?;
        Ok(output.status.success().then_some(output.stdout))
    }

    /// A call of the delegate that sharedroot itself makes.
    fn argv(&self, verb: &'static str) -> Argv {
        Argv::new(self.program.dialect, verb)
    }

    /// All words of a call, in the delegate's dialect.
    fn line(&self, argv: &Argv) -> Result<Vec<OsString>, DelegateError> {
        let mut line = vec![self.root()];
        for part in [&self.global, argv] {
            line.extend_from_slice(part.words().map_err(self.unknown(argv))?);
        }
        Ok(line)
    }

    fn root(&self) -> OsString {
        let mut root = OsString::from("--root=");
        root.push(&self.state);
        root
    }

    fn unknown(&self, argv: &Argv) -> impl FnOnce(&'static str) -> DelegateError {
        let (verb, id, program) = (argv.verb(), self.id.clone(), self.program.path.clone());
        move |what| DelegateError::Unknown { verb, id, program, what }
    }

    fn cannot_start(&self, verb: &'static str, source: std::io::Error) -> DelegateError {
        let (id, program) = (self.id.clone(), self.program.path.clone());
        DelegateError::Start { verb, id, program, source }
    }
}

/// Replaces this process by the engine of new containers, which prints what it supports. Returns only on failure.
pub fn exec_features(program: &Program) -> std::io::Error {
    Command::new(&program.path).arg("features").exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delegate(dialect: Dialect) -> Delegate {
        let program = Program { path: "/usr/bin/x".into(), dialect };
        let global = Argv::before_the_verb().value("--log", Some("/l")).flag("--debug", true);
        Delegate::new(&program, Path::new("/state"), &"c".parse().unwrap(), global)
    }

    #[test]
    fn a_command_line_begins_with_the_delegates_own_state_directory() {
        let delegate = delegate(Dialect::Crun);
        let line = delegate.line(&delegate.delete_line(Deletion::Forced)).unwrap();
        assert_eq!(line, ["--root=/state", "--log=/l", "--debug", "delete", "--force", "--", "c"]);
        let line = delegate.line(&delegate.delete_line(Deletion::OfStopped)).unwrap();
        assert_eq!(line[3..], ["delete", "--", "c"]);
    }

    #[test]
    fn what_a_delegate_does_not_have_is_refused_before_it_is_called() {
        let of = |dialect| {
            let delegate = delegate(dialect);
            let argv = delegate.argv("events").only_runc("events", true).only_runc("x", true);
            delegate.line(&argv.id("c")).map_err(|error| error.to_string())
        };
        assert_eq!(of(Dialect::Runc).unwrap()[3..], ["events", "--", "c"]);
        let refused = of(Dialect::Crun).unwrap_err();
        assert!(refused.starts_with("events c: the engine /usr/bin/x has no events;"), "{refused}");
    }
}
