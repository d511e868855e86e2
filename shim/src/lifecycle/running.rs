//! What the embedded engine does to a container that runs, with its story.

use sharedroot_engine::{Embedded, Limits, Reach, update};

use super::{Container, LifecycleError, tell};

impl Container {
    /// `kill`: sends the signal, a name or a number, to the init process or to every process.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn kill(
        &self,
        embedded: &Embedded,
        signal: &str,
        reach: Reach,
    ) -> Result<(), LifecycleError> {
        embedded.kill(signal, reach)?;
        let whom = if reach == Reach::All { " to all its processes" } else { "" };
        tell(format_args!("signal {signal}{whom}"));
        Ok(())
    }

    /// `update`: changes the limits of the container.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn update(&self, embedded: &Embedded, limits: Limits) -> Result<(), LifecycleError> {
        update(embedded, limits)?;
        tell(format_args!("limits updated"));
        Ok(())
    }

    /// `resume`: thaws the container.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn resume(&self, embedded: &Embedded) -> Result<(), LifecycleError> {
        embedded.resume()?;
        tell(format_args!("resumed"));
        Ok(())
    }
}
