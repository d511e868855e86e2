//! A container, its processes and what they are in.

use std::collections::BTreeMap;

use super::held::{ExecRequest, Queue};
use super::target::Ticket;
use crate::Id;
use crate::messages::Timestamp;
use crate::messages::task;

/// The state of a process. A deleted one is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits for `Start`.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended, and its end is published.
    Stopped,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, or 128 and the signal.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

impl Exit {
    /// Of a process that never was. 255 is containerd's `UnknownExitStatus`.
    pub const NEVER_STARTED: Self = Self { status: 255, at: Timestamp::NEVER };
}

/// What becomes of a container's processes when the init process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pids {
    /// The container has a PID namespace of its own: the kernel kills them.
    Own,
    /// It has another's PID namespace: the shim must kill them.
    Shared,
}

/// Where the standard streams lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

impl Streams {
    /// The bytes of the texts.
    pub fn bytes(&self) -> usize {
        self.stdin.len() + self.stdout.len() + self.stderr.len()
    }
}

/// What is done to a process now.
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
    /// The kernel's word that the process has ended; published when its turn comes.
    pub ended: Option<Exit>,
    /// The end, once it is published; or that the start failed.
    pub exit: Option<Exit>,
    pub doing: Option<Doing>,
    /// Calls that wait until nothing is done to the process.
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

    /// The end as an answer has it.
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
    /// Whether the init process's end must wait for this one's.
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
    /// That the rest of the processes was sent to its end.
    pub cleared: bool,
    /// The call that deleted the container; only the init process's end is missing.
    pub deleted: Option<Ticket>,
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

    /// What `State` says: a container that is frozen has only frozen processes.
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
