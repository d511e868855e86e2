//! A container, its processes and their states.

use std::collections::BTreeMap;

use super::held::{ExecRequest, Queue};
use super::target::Ticket;
use crate::Id;
use crate::messages::Timestamp;
use crate::messages::task;

/// The state of a process. A deleted process has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The process waits for `Start`.
    Created,
    /// The process runs.
    Running,
    /// The process is frozen.
    Paused,
    /// The process has ended, and its end is published.
    Stopped,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, or 128 plus the number of the signal.
    pub status: u32,
    /// The time of the end.
    pub at: Timestamp,
}

impl Exit {
    /// The end of a process that never started. 255 is containerd's `UnknownExitStatus`.
    pub const NEVER_STARTED: Self = Self { status: 255, at: Timestamp::NEVER };
}

/// What happens to a container's processes when the init process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pids {
    /// The container has its own PID namespace: the kernel kills the processes.
    Own,
    /// The container uses another PID namespace: the shim must kill the processes.
    Shared,
}

/// The paths of the standard streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

impl Streams {
    /// The bytes of the paths.
    pub fn bytes(&self) -> usize {
        self.stdin.len() + self.stdout.len() + self.stderr.len()
    }
}

/// The work that is done on a process now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Start,
    Pause,
    Delete,
    Other,
}

/// The init process or an exec.
#[derive(Debug)]
pub(super) struct Process {
    /// 0 before the start of an exec.
    pub pid: u32,
    pub state: State,
    /// The end that the kernel reported. It is published when its turn comes.
    pub ended: Option<Exit>,
    /// The published end, or the end of a process whose start failed.
    pub exit: Option<Exit>,
    pub doing: Option<Doing>,
    /// Calls that wait until no work is done on the process.
    pub queue: Queue,
    pub waits: Vec<Ticket>,
    pub streams: Streams,
}

impl Process {
    pub fn new(pid: u32, streams: Streams) -> Self {
        Self {
            pid,
            state: State::Created,
            ended: None,
            exit: None,
            doing: None,
            queue: Queue::default(),
            waits: Vec::new(),
            streams,
        }
    }

    /// The end, in the form for an answer.
    pub fn end(&self) -> Exit {
        self.exit.unwrap_or(Exit { status: 0, at: Timestamp::NEVER })
    }
}

/// An exec.
#[derive(Debug)]
pub(super) struct Exec {
    pub process: Process,
    pub request: ExecRequest,
}

impl Exec {
    /// Whether the init process's end must wait for the end of this exec.
    pub fn is_running(&self) -> bool {
        self.process.state == State::Running || self.process.doing == Some(Doing::Start)
    }
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub bundle: String,
    pub pids: Pids,
    pub init: Process,
    pub execs: BTreeMap<Id, Exec>,
    /// Whether the other processes were already killed or thawed.
    pub cleared: bool,
    /// Whether an OOM event waits for the start event.
    pub oom_waits: bool,
    /// The call that deleted the container. Only the end of the init process is missing.
    pub deleted: Option<Ticket>,
    /// Whether containerd gave the container up, and work deletes it or has deleted it.
    pub given_up: bool,
}

impl Container {
    /// The init process, or an exec.
    pub fn process(&self, exec: Option<&str>) -> Option<&Process> {
        match exec {
            None => Some(&self.init),
            Some(id) => self.execs.get(id).map(|exec| &exec.process),
        }
    }

    /// The init process, or an exec.
    pub fn process_mut(&mut self, exec: Option<&str>) -> Option<&mut Process> {
        match exec {
            None => Some(&mut self.init),
            Some(id) => self.execs.get_mut(id).map(|exec| &mut exec.process),
        }
    }

    /// The answer of `State`. In a frozen container every process counts as frozen.
    pub fn status(&self, process: &Process) -> task::Status {
        if self.init.doing == Some(Doing::Pause) {
            return task::Status::Pausing;
        }
        if self.init.state == State::Paused {
            return task::Status::Paused;
        }
        match process.state {
            State::Created => task::Status::Created,
            State::Running => task::Status::Running,
            State::Paused => task::Status::Paused,
            State::Stopped => task::Status::Stopped,
        }
    }
}
