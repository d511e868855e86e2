//! `delete`: the end of a container.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use libcontainer::container::{Container, ContainerStatus};

use super::container::Embedded;
use super::state::forget;
use crate::EngineError;
use crate::asked::Deletion;
use crate::container::signal;

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Embedded {
    /// Kills the init process if it is outside of the container's cgroup, and waits for its end.
    pub(super) fn end(&self, init: io::Result<Option<OwnedFd>>) -> Result<(), EngineError> {
        let fail = |why: String| EngineError::Engine { verb: "delete", id: self.id().clone(), why };
        let Some(init) = init.map_err(|e| fail(format!("open its process: {e}")))? else {
            return Ok(());
        };
        signal::send(&init, rustix::process::Signal::KILL)
            .map_err(|e| fail(format!("kill its process: {e}")))?;
        match signal::await_end(&init, PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(fail(format!("its process does not end within {PATIENCE:?} after SIGKILL")))
            }
            Err(e) => Err(fail(format!("wait for its process: {e}"))),
        }
    }

    /// Removes the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::WrongStatus`] and the engine's own errors.
    pub fn delete(&self, asked: Deletion) -> Result<(), EngineError> {
        let force = asked == Deletion::Forced;
        let mut container = match self.load("delete") {
            Err(unread @ EngineError::Engine { .. }) if force => return self.delete_unread(unread),
            loaded => loaded?,
        };
        let may = |container: &Container| {
            force
                || matches!(container.status(), ContainerStatus::Stopped | ContainerStatus::Created)
        };
        self.require("delete", &container, may)?;
        self.remove_cgroup(&container);
        self.end(self.hold(&container))?;
        // The library would send the signal by number to the process that it believes to be the container's.
        forget(&mut container);
        if self.has_lost_its_unit(&container) {
            // So the library stops no unit.
            container.set_systemd(false);
        }
        if let Err(error) = container.delete(force)
            // The undo of a `create` that goes on beside a forced delete may remove the directory first.
            && self.dir().try_exists().unwrap_or(true)
        {
            return Err(self.fail("delete")(error));
        }
        if let Some(later) = self.later("delete")? {
            later.after_end(&container.state, self.callers());
        }
        Ok(())
    }
}
