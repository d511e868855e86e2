//! What a command asks of a new container.

use std::path::Path;

use sharedroot_engine::{Choice, CreateOptions};

use crate::cli::Verb;

/// The request of `create`, `run` or `restore`.
#[derive(Debug)]
pub struct Order<'a> {
    /// The caller's bundle.
    pub bundle: &'a Path,
    /// The engine of the new container, as the record has it.
    pub choice: &'a Choice,
    /// The whole command line, for a delegate.
    pub verb: &'a Verb,
    /// The options for the embedded engine.
    pub options: CreateOptions,
}
