//! What fails in a delegate, or on the way to it.

use std::path::PathBuf;

use sharedroot_format::ContainerId;

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
