//! The errors of a delegate and of calling one.

use std::path::PathBuf;

use sharedroot_format::ContainerId;

/// A delegate could not be called, or its answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// The caller gave a flag or a verb that crun does not have.
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
    /// The program cannot be started.
    #[error("start the engine {program} for {verb} {id}")]
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
    /// The delegate's output is not the expected JSON.
    #[error("{verb} {id}: the engine {program} answered {answer:?}, which is not what runc prints")]
    Answer {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The program.
        program: PathBuf,
        /// The beginning of the output.
        answer: String,
    },
}
