//! An OCI runtime called directly: sharedroot with one of its engines, or another runtime to prove a test.

use std::fs;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::command::{Cmd, Output, unique_name, unique_path};
use crate::kernel_view::traps;
use crate::lab::{TempDir, wait_for};
use crate::shim;

/// The path of sharedroot in the lab.
const SHAREDROOT: &str = "/usr/local/bin/sharedroot";

/// A runtime with a state directory of its own.
#[derive(Debug)]
pub struct Runtime {
    program: String,
    /// The value of sharedroot's flag `--engine`.
    engine: Option<String>,
    root: TempDir,
}

impl Runtime {
    /// The program in `RUNTIME`, or sharedroot. `sharedroot+crun` is sharedroot with the engine crun. containerd's shim, which
    /// nobody calls, stands for sharedroot.
    #[track_caller]
    pub fn of_env() -> Self {
        match std::env::var("RUNTIME").ok().filter(|name| name != shim::WORD) {
            Some(name) => match name.split_once('+') {
                Some(("sharedroot", engine)) => Self::with_engine(engine),
                _ => Self::new(&name, None),
            },
            None => Self::sharedroot(),
        }
    }

    /// sharedroot, whatever `RUNTIME` says.
    #[track_caller]
    pub fn sharedroot() -> Self {
        Self::new(SHAREDROOT, None)
    }

    /// runc, the control for a test that runs both.
    #[track_caller]
    pub fn runc() -> Self {
        Self::new("runc", None)
    }

    /// sharedroot with `--engine`.
    #[track_caller]
    pub fn with_engine(engine: &str) -> Self {
        Self::new(SHAREDROOT, Some(engine))
    }

    #[track_caller]
    fn new(program: &str, engine: Option<&str>) -> Self {
        crate::lab::only_in_lab();
        let (program, engine) = (program.to_owned(), engine.map(str::to_owned));
        Self { program, engine, root: TempDir::new("root") }
    }

    /// The program's path or name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The value of sharedroot's flag `--engine`, if the flag is given.
    pub fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// Whether the runtime is sharedroot, and not another runtime that proves a test.
    pub fn is_sharedroot(&self) -> bool {
        self.program.ends_with("/sharedroot")
    }

    /// The runtime's state directory.
    pub fn root(&self) -> &str {
        self.root.str()
    }

    /// A command of the runtime with its state directory.
    pub fn cmd(&self, words: &[&str]) -> Cmd {
        self.cmd_with_engine(self.engine.as_deref(), words)
    }

    /// A command of the runtime with another `--engine`, or without the flag.
    pub fn cmd_with_engine(&self, engine: Option<&str>, words: &[&str]) -> Cmd {
        let cmd = Cmd::new(&self.program).args(&["--root", self.root.str()]);
        let cmd = match engine {
            Some(engine) => cmd.args(&["--engine", engine]),
            None => cmd,
        };
        cmd.args(words)
    }

    /// The output of `--version`.
    #[track_caller]
    pub fn version(&self) -> String {
        Cmd::new(&self.program).arg("--version").run().ok()
    }

    /// The container with this ID, which a command of the test may have created.
    pub fn container(&self, id: String) -> Container<'_> {
        Container { runtime: self, id }
    }

    /// `create`, which must succeed.
    #[track_caller]
    pub fn create(&self, bundle: &Bundle) -> Container<'_> {
        self.create_with(&[], bundle)
    }

    #[track_caller]
    fn create_with(&self, flags: &[&str], bundle: &Bundle) -> Container<'_> {
        let container = Container { runtime: self, id: unique_name("c") };
        let words = ["create", "--bundle", bundle.str()];
        self.cmd(&words).args(flags).arg(&container.id).run().ok();
        container
    }

    /// `create` and `start`, which must succeed. Waits until the init process runs its own program or has ended, because
    /// `start` does not wait for execve(2).
    #[track_caller]
    pub fn start(&self, bundle: &Bundle) -> Container<'_> {
        let file = unique_path("pid");
        let container = self.create_with(&["--pid-file", file.to_str().expect("ASCII")], bundle);
        let pid = fs::read_to_string(&file).expect("read the pid file");
        fs::remove_file(&file).expect("remove the pid file");
        let command = || fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        let runtimes = command();
        container.call("start", &[]).ok();
        wait_for("the init process runs its own program", || (command() != runtimes).then_some(()));
        container
    }
}

/// A container after `create`. Dropping this value deletes the container by force.
#[derive(Debug)]
pub struct Container<'r> {
    runtime: &'r Runtime,
    /// The container ID.
    pub id: String,
}

impl Container<'_> {
    /// `VERB ID WORDS…`
    #[track_caller]
    pub fn call(&self, verb: &str, words: &[&str]) -> Output {
        self.runtime.cmd(&[verb, &self.id]).args(words).run()
    }

    /// `VERB FLAGS… ID`, not yet run.
    pub fn cmd(&self, verb: &str, flags: &[&str]) -> Cmd {
        self.runtime.cmd(&[verb]).args(flags).arg(&self.id)
    }

    /// `exec FLAGS… ID COMMAND…`
    #[track_caller]
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Output {
        self.cmd("exec", flags).args(command).run()
    }

    /// `state`
    #[track_caller]
    pub fn state(&self) -> Value {
        self.call("state", &[]).json()
    }

    /// The `status` of `state`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until `state` prints this status.
    #[track_caller]
    pub fn becomes(&self, status: &str) {
        wait_for(&format!("container {} is {status}", self.id), || {
            (self.status() == status).then_some(())
        });
    }

    /// Waits until the init process handles the signal; see [`traps`].
    #[track_caller]
    pub fn traps(&self, signal: u32) {
        traps(self.pid(), signal);
    }

    /// The PID of the init process on the host.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().expect("a pid");
        i32::try_from(pid).expect("a pid of 32 bits")
    }

    /// Whether `state` knows the container.
    #[track_caller]
    pub fn exists(&self) -> bool {
        self.call("state", &[]).status == 0
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.runtime.cmd(&["delete", "--force", &self.id]).run();
    }
}
