//! `pause` and `resume`.

use libcontainer::container::Container;

use sharedroot_sys::chain::chain;

use super::container::Embedded;
use crate::EngineError;

impl Embedded {
    /// Freezes the container. If that fails, the container is thawed: a process in a long system call does not freeze in time,
    /// and would freeze later.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn pause(&self) -> Result<(), EngineError> {
        let mut container = self.load("pause")?;
        self.require("pause", &container, Container::can_pause)?;
        container.pause().map_err(self.fail("pause")).inspect_err(|_| {
            if let Err(error) = self.thaw("pause") {
                tracing::warn!("the container stays frozen: {}", chain(&error));
            }
        })
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn resume(&self) -> Result<(), EngineError> {
        let mut container = self.load("resume")?;
        self.require("resume", &container, Container::can_resume)?;
        container.resume().map_err(self.fail("resume"))
    }
}
