//! The engine of one container: the embedded engine or a delegate.

use super::{Delegate, DelegateError, Embedded};

/// The engine of one container.
#[derive(Debug)]
pub enum Engine {
    /// libcontainer, in this process.
    Embedded(Embedded),
    /// Another OCI runtime.
    Delegate(Delegate),
}

impl Engine {
    /// Whether the engine has the container.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn exists(&self) -> Result<bool, DelegateError> {
        match self {
            Self::Embedded(embedded) => Ok(embedded.exists()),
            Self::Delegate(delegate) => delegate.exists(),
        }
    }

    /// Whether the engine's state directory has an entry of that ID. This does not call a delegate.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.exists(),
            Self::Delegate(delegate) => delegate.has_traces(),
        }
    }
}
