//! `kill` on the embedded engine.

use sharedroot_engine::{Embedded, Reach};

use crate::cli::Kill;
use crate::lifecycle::{Container, LifecycleError};

/// Sends the signal. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn kill(container: &Container, embedded: &Embedded, args: &Kill) -> Result<u8, LifecycleError> {
    let reach = if args.all { Reach::All } else { Reach::Init };
    container.kill(embedded, &args.signal, reach)?;
    Ok(0)
}
