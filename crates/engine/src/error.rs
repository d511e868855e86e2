//! The errors of the embedded engine.

use std::path::PathBuf;

use sharedroot_format::ContainerId;
use sharedroot_format::json::JsonError;

use super::Status;
use crate::hooks::heard::HookFailed;
use crate::spec::error::SpecError;
use crate::spec::validate::forbidden::Forbidden;

/// The engine failed to execute a verb on a container.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container has this ID. The words are runc's, because containerd's shim searches for them.
    #[error("container {id} does not exist")]
    NotFound {
        /// The container ID.
        id: ContainerId,
    },
    /// A signal for a container that has ended. The words are runc's, because containerd's shim searches for them.
    #[error("kill {id}: container not running")]
    NotRunning {
        /// The container ID.
        id: ContainerId,
    },
    /// The verb does not fit the container's status.
    #[error("{verb} {id}: the container is {status}")]
    WrongStatus {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// Its status.
        status: Status,
    },
    /// This host has no signal of this name or number.
    #[error("kill: {signal:?} is not a signal; give a name such as TERM or a number from 1 to 64")]
    Signal {
        /// The signal that was given.
        signal: String,
    },
    /// libcontainer's own error.
    #[error("{verb} {id}: {why}")]
    Engine {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The engine's first logged error, which is closest to the cause, or else the error that the engine returned.
        why: String,
    },
    /// A hook of the caller failed.
    #[error("{verb} {id}")]
    Hook {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// Which hook failed, and why.
        source: HookFailed,
    },
    /// The container's cgroup could not be read or changed.
    #[error("{verb} {id}: cgroup")]
    Cgroup {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The library's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The text of `update --resources` is not in OCI's form.
    #[error("{path} is not LinuxResources")]
    Resources {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What is wrong, and at which place in the text.
        source: JsonError,
    },
    /// A limit cannot be enforced.
    #[error(transparent)]
    Limit(#[from] SpecError),
    /// The specification forbids the value.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The description of a process for `exec` cannot be used.
    #[error("exec {id}: {what}")]
    Process {
        /// The container ID.
        id: ContainerId,
        /// What is wrong.
        what: String,
    },
    /// The configuration asks for a terminal, and the caller named no socket for the terminal.
    #[error("process.terminal is true, so --console-socket must name a socket to receive it")]
    Console,
}
