//! `kill` on the embedded engine.

use sharedroot_engine::{Embedded, Reach};

use crate::cli::Kill;
use crate::lifecycle::{LifecycleError, tell};

/// Sends the signal. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn kill(embedded: &Embedded, args: &Kill) -> Result<u8, LifecycleError> {
    let (reach, whom) = match args.all {
        true => (Reach::All, " to all its processes"),
        false => (Reach::Init, ""),
    };
    embedded.kill(&args.signal, reach)?;
    tell(format_args!("signal {}{whom}", args.signal));
    Ok(0)
}
