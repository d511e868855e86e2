//! What the machine wants done, and how it hears of the result.

use super::container::Pids;
use super::refusal::Refusal;
use super::target::{Reach, Target, Ticket};
use crate::messages::Any;
use crate::messages::task::{
    CheckpointTaskRequest, CreateTaskRequest, ExecProcessRequest, UpdateTaskRequest,
};
use crate::{Answer, Event, Id};

/// Work under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub(super) u64);

/// Something to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a call.
    Answer(Ticket, Result<Answer, Refusal>),
    /// Publish an event, after all that came before.
    Publish(Event),
    /// Do some work, and tell its [`Outcome`]. Work of one process comes one after the other.
    Run(Job, Work),
    /// Write to the container's log that work failed for which nobody waits.
    Report(Id, Refusal),
    /// End the shim, once the answers and events are out.
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
    /// Remove what is left of a process. For the init process also the container; if the init process has not run its program
    /// yet, it must be killed, and its end must be told as any other. Outcome: `Done`.
    Delete(Target),
    /// Freeze. Outcome: `Done`.
    Pause(Id),
    /// Thaw. Outcome: `Done`.
    Resume(Id),
    /// Send a signal. Outcome: `Done`.
    Kill {
        /// To which process.
        target: Target,
        /// 0 to 64.
        signal: u32,
        /// Or to all.
        reach: Reach,
    },
    /// Set limits. Outcome: `Done`.
    Update(Id, Box<UpdateTaskRequest>),
    /// Make a checkpoint. Outcome: `Done`.
    Checkpoint(Id, Box<CheckpointTaskRequest>),
    /// List the processes. Outcome: `Pids`.
    Pids(Id),
    /// Read the figures of the cgroup. Outcome: `Stats`.
    Stats(Id),
    /// Set the size of the terminal. Outcome: `Done`.
    Resize {
        /// Of which process.
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
        /// The init process.
        pid: u32,
        /// Whether the kernel ends all its processes with the init process.
        pids: Pids,
    },
    /// The exec runs.
    Started {
        /// Its process.
        pid: u32,
    },
    /// It is done.
    Done,
    /// The process IDs of the container.
    Pids(Vec<u32>),
    /// The figures.
    Stats(Any),
    /// It failed.
    Failed(Refusal),
}
