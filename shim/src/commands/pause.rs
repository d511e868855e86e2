//! `pause` and `resume` on the embedded engine.

use sharedroot_engine::Embedded;

use crate::lifecycle::{LifecycleError, tell};

/// Freezes the container. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn pause(embedded: &Embedded) -> Result<u8, LifecycleError> {
    embedded.pause()?;
    tell(format_args!("paused"));
    Ok(0)
}

/// Thaws the container. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn resume(embedded: &Embedded) -> Result<u8, LifecycleError> {
    embedded.resume()?;
    tell(format_args!("resumed"));
    Ok(0)
}
