//! What came of preparing a root: a root, or the reason to run on the one that the engine gave.

use crate::error::RootfsError;
use crate::not_shared::NotShared;

/// What came of preparing a root.
#[derive(Debug)]
pub enum Prepared<T> {
    /// A root.
    Root(T),
    /// None; the container can have the one that its engine gave.
    NotShared(NotShared),
}

impl<T> Prepared<T> {
    /// Tells a reason from a failure.
    pub(crate) fn of(prepared: Result<T, RootfsError>) -> Result<Self, RootfsError> {
        match prepared {
            Ok(root) => Ok(Self::Root(root)),
            Err(RootfsError::NotShared(why)) => Ok(Self::NotShared(why)),
            Err(error) => Err(error),
        }
    }
}
