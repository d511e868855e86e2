//! What a container's process must not inherit from the runtime's caller: the session keyring, supplementary groups and
//! ignored signals. The engine leaves all of them unchanged, so they are changed in this process before the engine
//! clones it.

use std::fs::File;

use keyutils::{Keyring, Permission};
use nix::unistd::setgroups;
use sharedroot_label::ProcessLabel;
use sharedroot_sys::signal;

use crate::{Embedded, EngineError};

/// The file beside the configuration that marks a container without a keyring of its own.
const CALLERS_KEYRING: &str = "callers-keyring";

/// The permissions that the kernel's `join_session_keyring` gives, and the permission to search for the keyring by its
/// name, which a later `exec` needs. The permission is for the user ID.
fn permissions() -> Permission {
    let user = Permission::USER_VIEW | Permission::USER_READ | Permission::USER_LINK;
    Permission::POSSESSOR_ALL | user | Permission::USER_SEARCH
}

impl Embedded {
    /// Drops the caller's groups, session keyring and ignored signals. `label` is the process label, for the new
    /// keyring.
    ///
    /// # Errors
    /// [`EngineError::Process`].
    pub(crate) fn leave_callers_session(
        &self,
        label: Option<&ProcessLabel>,
        keep_keyring: bool,
    ) -> Result<(), EngineError> {
        let wrong = |what: String| EngineError::Process { id: self.id().clone(), what };
        // The engine sets the groups of the configuration. If the configuration has none, the process would keep the
        // caller's.
        setgroups(&[]).map_err(|e| wrong(format!("leave the caller's groups: {e}")))?;
        signal::handle_ignored().map_err(|e| wrong(format!("handle what is ignored: {e}")))?;
        let mark = self.bundle().join(CALLERS_KEYRING);
        if keep_keyring {
            return File::create(&mark)
                .map(drop)
                .map_err(|e| wrong(format!("create {}: {e}", mark.display())));
        }
        self.join_keyring(label).map_err(wrong)
    }

    /// Drops the caller's groups, and joins the session keyring that `create` made.
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
            // A kernel without keyrings has none to inherit.
            Err(e) if e.0 == nix::errno::Errno::ENOSYS as i32 => Ok(()),
            Err(e) => Err(words(&e)),
        }
    }
}
