//! The engine of one container, as a choice names it.

use std::path::PathBuf;

use sharedroot_engine::{Argv, Choice, Delegate, Embedded, Engine};
use sharedroot_format::ContainerId;
use sharedroot_sys::private_dir::private_dir;

use super::LifecycleError;

/// What every engine of a container needs to know.
#[derive(Debug)]
pub(super) struct Engines {
    /// The state root of the command line, resolved.
    pub root: PathBuf,
    pub id: ContainerId,
    /// The directory of the container's record.
    pub record_dir: PathBuf,
    /// The directory where delegates keep the containers of this state root.
    pub delegates: PathBuf,
    /// The flags before a delegate's verb.
    pub global: Argv,
}

impl Engines {
    /// The engine that will create the container.
    ///
    /// # Errors
    /// [`LifecycleError::Record`] if other users could write to the delegates' directory.
    pub(super) fn of_new(&self, choice: &Choice) -> Result<Engine, LifecycleError> {
        if matches!(choice, Choice::Delegate(_)) {
            private_dir(&self.delegates)?;
        }
        Ok(self.engine(choice))
    }

    /// The engine of a container that exists.
    ///
    /// # Errors
    /// [`LifecycleError`] naming the engine's program, which an administrator may have replaced since.
    pub(super) fn of_record(&self, choice: &Choice) -> Result<Engine, LifecycleError> {
        if let Choice::Delegate(program) = choice {
            program.still_safe(self.id.as_str())?;
        }
        Ok(self.engine(choice))
    }

    fn engine(&self, choice: &Choice) -> Engine {
        let Self { root, id, record_dir, delegates, global } = self;
        match choice {
            Choice::Libcontainer => Engine::Embedded(Embedded::new(root, id, record_dir)),
            Choice::Delegate(program) => {
                Engine::Delegate(Delegate::new(program, delegates, id, global.clone()))
            }
        }
    }
}
