//! `delete --force` of a container whose state the engine cannot read.
//!
//! `start`, `pause` and `resume` of libcontainer truncate `state.json` before they write it. So if such a command is killed, or
//! `/run` is full, there is no state for good, and the container may run. What sharedroot has recorded itself is enough to end
//! the container: the cgroup in its own config.json, and the init process.

use std::io::ErrorKind;

use libcontainer::container::{ContainerStatus, State};
use sharedroot_sys::chain::chain;

use super::container::Embedded;
use crate::container::members::Members;
use crate::{BundleError, EngineError, read_config};

/// libcontainer's name of the file.
const STATE: &str = "state.json";

impl Embedded {
    /// Ends every process of the container and removes the engine's directory. `unread` is the error of its state.
    ///
    /// # Errors
    /// `unread` if sharedroot has no record of the container, so that nobody knows its processes. The errors of their end: then
    /// the container stays.
    pub(super) fn delete_unread(&self, unread: EngineError) -> Result<(), EngineError> {
        let fail = |why| EngineError::Engine { verb: "delete", id: self.id().clone(), why };
        let dir = self.dir();
        // This is looked for first: an undo of `create` removes it after the state.
        let config = match read_config(&self.bundle().join("config.json")) {
            Err(BundleError::Read { cause, .. }) if cause.kind() == ErrorKind::NotFound => None,
            read => Some(read.map_err(|e| fail(chain(&e)))?),
        };
        let has_state = dir.join(STATE).try_exists();
        let has_state = has_state.map_err(|e| fail(format!("look for its state: {e}")))?;
        let annotations = match config {
            Some(config) => {
                let init = self.opened(self.hold_recorded())?;
                let place = self.cgroup_of(&config)?;
                let members = self.members(init.as_ref(), place.as_deref());
                match self.opened(members)? {
                    Members::Own => self.end_cgroup_of(&config)?,
                    Members::Others => self.remove_untaken_cgroup_of(&config)?,
                }
                self.end(init.as_ref())?;
                config.annotations().clone()
            }
            None if has_state => return Err(unread),
            None => None,
        };
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(fail(format!("remove {}: {e}", dir.display())));
            }
            _ => {}
        }
        // A `create` that was killed before it wrote a state has run no hook that these would undo.
        if has_state && let Some(later) = self.later("delete")? {
            let id = self.id().as_str();
            let mut state =
                State::new(id, ContainerStatus::Stopped, None, self.bundle().to_owned());
            state.annotations = annotations;
            later.after_end(&state, self.callers());
        }
        Ok(())
    }
}
