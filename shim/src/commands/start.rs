//! `start` on the embedded engine.

use sharedroot_engine::Embedded;

use crate::lifecycle::{Container, LifecycleError};

/// Has the container's program run. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn start(container: &Container, embedded: &Embedded) -> Result<u8, LifecycleError> {
    container.start(embedded)?;
    Ok(0)
}
