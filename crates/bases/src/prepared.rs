//! The result of preparing a root: a root, or the reason to run on the rootfs that the engine gave.

use crate::error::RootfsError;
use crate::not_shared::NotShared;

/// The result of preparing a root.
#[derive(Debug)]
pub enum Prepared<T> {
    /// A root.
    Root(T),
    /// No root, with the reason. The container can run on the rootfs that its engine gave.
    NotShared(NotShared),
}

impl<T> Prepared<T> {
    /// Separates the reasons from the failures.
    pub(crate) fn of(prepared: Result<T, RootfsError>) -> Result<Self, RootfsError> {
        match prepared {
            Ok(root) => Ok(Self::Root(root)),
            Err(RootfsError::NotShared(why)) => Ok(Self::NotShared(why)),
            Err(error) => Err(error),
        }
    }
}
