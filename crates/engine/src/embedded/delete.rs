//! `delete`: the end of a container.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use libcontainer::container::{Container, ContainerStatus};

use super::container::Embedded;
use super::state::forget;
use crate::EngineError;
use crate::asked::Deletion;
use crate::container::members::Members;
use crate::container::signal;

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Embedded {
    /// Kills the init process if it is outside of the container's cgroup, and waits for its end.
    pub(super) fn end(&self, init: Option<&OwnedFd>) -> Result<(), EngineError> {
        let fail = |why: String| EngineError::Engine { verb: "delete", id: self.id().clone(), why };
        let Some(init) = init else { return Ok(()) };
        signal::send(init, rustix::process::Signal::KILL)
            .map_err(|e| fail(format!("kill its process: {e}")))?;
        match signal::await_end(init, PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(fail(format!("its process does not end within {PATIENCE:?} after SIGKILL")))
            }
            Err(e) => Err(fail(format!("wait for its process: {e}"))),
        }
    }

    /// The result of a look at the container's init process.
    pub(super) fn opened<T>(&self, looked: io::Result<T>) -> Result<T, EngineError> {
        looked.map_err(|e| EngineError::Engine {
            verb: "delete",
            id: self.id().clone(),
            why: format!("open its process: {e}"),
        })
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
        // What `create` recorded tells more than the engine's state, which is written again and again.
        let init = match self.opened(self.hold(&container))? {
            None => self.opened(self.hold_recorded())?,
            held => held,
        };
        let dir = self.own_cgroup(&container);
        let members = self.opened(self.members(init.as_ref(), dir.as_deref()))?;
        if members == Members::Own {
            self.remove_cgroup(&container);
        }
        self.end(init.as_ref())?;
        // The library would send the signal by number to the process that it believes to be the container's.
        forget(&mut container);
        let deleted = match members {
            Members::Others => self.delete_ended(&mut container, dir.as_deref()),
            Members::Own => {
                if self.has_lost_its_unit(&container) {
                    // So the library stops no unit.
                    container.set_systemd(false);
                }
                container.delete(force).map_err(self.fail("delete"))
            }
        };
        if let Err(error) = deleted
            // The undo of a `create` that goes on beside a forced delete may remove the directory first.
            && self.dir().try_exists().unwrap_or(true)
        {
            return Err(error);
        }
        if let Some(later) = self.later("delete")? {
            later.after_end(&container.state, self.callers());
        }
        Ok(())
    }
}
