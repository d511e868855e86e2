//! `kill`: a signal for a container.

use libcontainer::container::ContainerStatus;

use super::container::Embedded;
use crate::EngineError;
use crate::asked::Reach;
use crate::container::members::Members;
use crate::container::signal;

impl Embedded {
    /// Sends a signal to the init process, or to all processes of the container.
    ///
    /// # Errors
    /// [`EngineError::Signal`], [`EngineError::NotRunning`] and the engine's.
    pub fn kill(&self, text: &str, reach: Reach) -> Result<(), EngineError> {
        let signal =
            signal::parse(text).ok_or_else(|| EngineError::Signal { signal: text.to_owned() })?;
        let container = self.load("kill")?;
        if !container.can_kill() && reach == Reach::Init {
            return Err(EngineError::NotRunning { id: self.id().clone() });
        }
        let fail = |e: std::io::Error| EngineError::Cgroup {
            verb: "kill",
            id: self.id().clone(),
            source: e.into(),
        };
        match reach {
            Reach::All => {
                let init = self.hold(&container).map_err(fail)?;
                let dir = self.own_cgroup(&container);
                let members = self.members(init.as_ref(), dir.as_deref()).map_err(fail)?;
                match (members, init) {
                    (Members::Own, _) => self.signal_all(&container, signal)?,
                    (Members::Others, Some(init)) => signal::send(&init, signal).map_err(fail)?,
                    (Members::Others, None) => {}
                }
            }
            Reach::Init => {
                let init = self.hold(&container).map_err(fail)?;
                let init = init.ok_or_else(|| EngineError::NotRunning { id: self.id().clone() })?;
                signal::send(&init, signal).map_err(fail)?;
            }
        }
        if signal == rustix::process::Signal::KILL && container.status() == ContainerStatus::Paused
        {
            // A frozen process of cgroup v1 does not even end by SIGKILL.
            self.thaw("kill")?;
        }
        Ok(())
    }
}
