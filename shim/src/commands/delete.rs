//! `delete` on every engine.

use sharedroot_engine::Deletion;

use crate::cli::Delete;
use crate::lifecycle::{Container, LifecycleError};

/// Removes the container. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn delete(container: &Container, args: &Delete) -> Result<u8, LifecycleError> {
    container.delete(if args.force { Deletion::Forced } else { Deletion::OfStopped })
}
