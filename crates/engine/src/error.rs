//! What fails in the embedded engine.

use std::path::PathBuf;

use sharedroot_format::ContainerId;
use sharedroot_format::json::JsonError;

use super::Status;
use crate::hooks::callers::HookFailed;
use crate::spec::error::SpecError;
use crate::spec::validate::forbidden::Forbidden;

/// A verb of the engine that failed on a container.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no container of that ID. runc's words, which containerd's shim looks for.
    #[error("container {id} does not exist")]
    NotFound {
        /// The container ID.
        id: ContainerId,
    },
    /// A signal for a container that has ended. runc's words, which containerd's shim looks for.
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
    /// Not a signal that this host knows.
    #[error("kill: {signal:?} is no signal; give a name such as TERM or a number from 1 to 64")]
    Signal {
        /// What was given.
        signal: String,
    },
    /// libcontainer's own error.
    #[error("{verb} {id}: {why}")]
    Engine {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// What the engine logged first, which is closest to the cause, or what it returned.
        why: String,
    },
    /// A hook of the caller's.
    #[error("{verb} {id}: {source}")]
    Hook {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// Which hook, and why.
        source: HookFailed,
    },
    /// The container's cgroup did not answer or obey.
    #[error("{verb} {id}: cgroup")]
    Cgroup {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The library's reasons.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `update --resources` is not of OCI's form.
    #[error("{path} is not LinuxResources: {source}")]
    Resources {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What and where.
        source: JsonError,
    },
    /// A limit that cannot be enforced.
    #[error(transparent)]
    Limit(#[from] SpecError),
    /// What the specification forbids.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A description of a process for `exec` cannot be used.
    #[error("exec {id}: {what}")]
    Process {
        /// The container ID.
        id: ContainerId,
        /// What is wrong.
        what: String,
    },
    /// The terminal and its socket do not fit.
    #[error("process.terminal is true, so --console-socket must name a socket to receive it")]
    Console,
}
