//! The engine of one container, whichever it is.

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

    /// Whether the engine's state directory has anything of that ID. Asks nobody.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.exists(),
            Self::Delegate(delegate) => delegate.has_traces(),
        }
    }
}
