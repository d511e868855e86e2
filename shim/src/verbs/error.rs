//! What can fail in a verb, for a program that answers with codes.

use sharedroot_engine::{BundleError, EngineError};

use crate::lifecycle::LifecycleError;
use crate::record::RecordError;

/// A verb failed.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// As on the command line.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The container's engine is another OCI runtime, which has failed.
    #[error("{verb} {id}: the engine {engine}: {said}")]
    Delegate {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: String,
        /// The other runtime.
        engine: String,
        /// Its last error, or the status with which it ended.
        said: String,
    },
    /// This host does not have what the verb needs.
    #[error("{verb} {id}: this host has no {lacks}")]
    Host {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: String,
        /// What is missing.
        lacks: &'static str,
    },
}

/// What kind of failure a [`VerbError`] is, for a program that answers with codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is a container with this ID.
    Exists,
    /// There is no such container, or its process has ended.
    NotFound,
    /// Nothing here does that.
    Unsupported,
    /// Any other failure.
    Other,
}

impl VerbError {
    /// What kind of failure this is.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Lifecycle(LifecycleError::Record(RecordError::Exists { .. })) => Failure::Exists,
            Self::Lifecycle(LifecycleError::Engine(
                EngineError::NotFound { .. } | EngineError::NotRunning { .. },
            )) => Failure::NotFound,
            // crun and runc have no other words for it.
            Self::Delegate { said, .. }
                if ["does not exist", "not running"].iter().any(|words| said.contains(words)) =>
            {
                Failure::NotFound
            }
            Self::Host { .. } => Failure::Unsupported,
            Self::Lifecycle(_) | Self::Delegate { .. } => Failure::Other,
        }
    }
}

impl From<EngineError> for VerbError {
    fn from(error: EngineError) -> Self {
        Self::Lifecycle(error.into())
    }
}

impl From<BundleError> for VerbError {
    fn from(error: BundleError) -> Self {
        Self::Lifecycle(error.into())
    }
}
