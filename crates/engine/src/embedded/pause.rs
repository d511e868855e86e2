//! `pause` and `resume`.

use libcontainer::container::Container;

use super::container::Embedded;
use crate::EngineError;

impl Embedded {
    /// Freezes the container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn pause(&self) -> Result<(), EngineError> {
        let mut container = self.load("pause")?;
        self.require("pause", &container, Container::can_pause)?;
        container.pause().map_err(self.fail("pause"))
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
