//! What a process of a container must not inherit from the runtime's caller: the session keyring, supplementary groups,
//! ignored signals. The engine leaves all of them as they are, so they are put right in this process before the engine
//! clones it.

use std::fs::File;

use keyutils::{Keyring, Permission};
use nix::unistd::setgroups;
use sharedroot_label::ProcessLabel;
use sharedroot_sys::signal;

use crate::{Embedded, EngineError};

/// The file beside the configuration that says that the container has no keyring of its own.
const CALLERS_KEYRING: &str = "callers-keyring";

/// What `join_session_keyring` of the kernel grants, and that a later `exec` may search for it by
/// its name, which is by user ID.
fn permissions() -> Permission {
    let user = Permission::USER_VIEW | Permission::USER_READ | Permission::USER_LINK;
    Permission::POSSESSOR_ALL | user | Permission::USER_SEARCH
}

impl Embedded {
    /// Leaves the caller's groups and session keyring, and what this program ignores. `label` is the process's, for the keyring.
    ///
    /// # Errors
    /// [`EngineError::Process`].
    pub(crate) fn leave_callers_session(
        &self,
        label: Option<&ProcessLabel>,
        keep_keyring: bool,
    ) -> Result<(), EngineError> {
        let wrong = |what: String| EngineError::Process { id: self.id().clone(), what };
        // The engine sets the groups that the process has, and those of the caller if it has none.
        setgroups(&[]).map_err(|e| wrong(format!("leave the caller's groups: {e}")))?;
        signal::handle_broken_pipes().map_err(|e| wrong(format!("handle SIGPIPE: {e}")))?;
        let mark = self.bundle().join(CALLERS_KEYRING);
        if keep_keyring {
            return File::create(&mark)
                .map(drop)
                .map_err(|e| wrong(format!("create {}: {e}", mark.display())));
        }
        self.join_keyring(label).map_err(wrong)
    }

    /// Leaves the caller's groups, and joins the session keyring that `create` made.
    ///
    /// # Errors
    /// [`EngineError::Process`].
    pub(crate) fn join_containers_session(
        &self,
        label: Option<&ProcessLabel>,
    ) -> Result<(), EngineError> {
        self.leave_callers_session(label, self.bundle().join(CALLERS_KEYRING).exists())
    }

    fn join_keyring(&self, label: Option<&ProcessLabel>) -> Result<(), String> {
        let words = |e: &dyn std::fmt::Display| format!("make a session keyring: {e}");
        if let Some(label) = label {
            label.set_for_keyrings().map_err(|e| words(&e))?;
        }
        let joined = Keyring::join_session(format!("_ses.{}", self.id()));
        if label.is_some() {
            ProcessLabel::reset_for_keyrings().map_err(|e| words(&e))?;
        }
        match joined {
            Ok(mut keyring) => keyring.set_permissions(permissions()).map_err(|e| words(&e)),
            // A kernel without keyrings has none to inherit, either.
            Err(e) if e.0 == nix::errno::Errno::ENOSYS as i32 => Ok(()),
            Err(e) => Err(words(&e)),
        }
    }
}
