//! The effects that the machine asks for, and the results of work.

use super::container::Pids;
use super::refusal::Refusal;
use super::target::{Reach, Target, Ticket};
use crate::messages::Any;
use crate::messages::task::{
    CheckpointTaskRequest, CreateTaskRequest, ExecProcessRequest, UpdateTaskRequest,
};
use crate::{Answer, Event, Id};

/// The number of unfinished work.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub(super) u64);

/// An effect that the caller must carry out, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a call.
    Answer(Ticket, Result<Answer, Refusal>),
    /// Publish an event, after all earlier events.
    Publish(Event),
    /// Do some work, and report its [`Outcome`]. Two pieces of work on one process are never done at the same time.
    Run(Job, Work),
    /// Write to the container's log that work failed whose result no call waits for.
    Report(Id, Refusal),
    /// End the shim, after the answers and events are sent.
    Shutdown,
}

/// Some work.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Make the container and its init process. Outcome: `Created`.
    Create(Id, Box<CreateTaskRequest>),
    /// Let the init process run its program. Outcome: `Done`.
    StartInit(Id),
    /// Start an exec. Outcome: `Started`.
    StartExec(Target, Box<ExecProcessRequest>),
    /// Remove what is left of a process; for the init process, also the container. If the init process has not run its program
    /// yet, it must be killed, and its end must be reported like any other end. Outcome: `Done`.
    Delete(Target),
    /// Freeze the container. Outcome: `Done`.
    Pause(Id),
    /// Thaw the container. Outcome: `Done`.
    Resume(Id),
    /// Send a signal. Outcome: `Done`.
    Kill {
        /// The process that gets the signal.
        target: Target,
        /// The signal's number, 0 to 64.
        signal: u32,
        /// Whether only the process or all processes get the signal.
        reach: Reach,
    },
    /// Set new limits. Outcome: `Done`.
    Update(Id, Box<UpdateTaskRequest>),
    /// Make a checkpoint. Outcome: `Done`.
    Checkpoint(Id, Box<CheckpointTaskRequest>),
    /// List the processes. Outcome: `Pids`.
    Pids(Id),
    /// Read the figures of the cgroup. Outcome: `Stats`.
    Stats(Id),
    /// Set the size of the terminal. Outcome: `Done`.
    Resize {
        /// The process with the terminal.
        target: Target,
        /// Columns.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// Close the shim's end of the standard input. Outcome: `Done`.
    CloseInput(Target),
}

/// How work ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The container is made.
    Created {
        /// The process ID of the init process.
        pid: u32,
        /// Whether the kernel ends all processes of the container when the init process ends.
        pids: Pids,
    },
    /// The exec runs.
    Started {
        /// The process ID of the exec.
        pid: u32,
    },
    /// The work is done.
    Done,
    /// The process IDs of the container.
    Pids(Vec<u32>),
    /// The figures.
    Stats(Any),
    /// The work failed.
    Failed(Refusal),
}
