//! What a process of a container must not inherit from the runtime's caller, and what it must own:
//! the session keyring, supplementary groups, standard streams, ignored signals. The engine leaves all of them as
//! they are, so they are put right in this process before the engine clones it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};

use keyutils::{Keyring, Permission};
use nix::unistd::setgroups;
use oci_spec::runtime::{LinuxIdMapping, Process, Spec};
use rustix::fs::{FileType, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sharedroot_label::ProcessLabel;
use sharedroot_sys::signal;

use super::{Embedded, EngineError};

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
    pub(super) fn leave_callers_session(
        &self,
        label: Option<&ProcessLabel>,
        keep_keyring: bool,
    ) -> Result<(), EngineError> {
        let wrong = |what: String| EngineError::Process { id: self.id().clone(), what };
        // The engine sets the groups that the process has, and those of the caller if it has none.
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

    /// Leaves the caller's groups, and joins the session keyring that `create` made.
    ///
    /// # Errors
    /// [`EngineError::Process`].
    pub(super) fn join_containers_session(
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

/// The user ID on this host of user `uid` in the container; `None` where only a joined user
/// namespace knows.
pub(super) fn host_uid(spec: &Spec, uid: u32) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let mapped = linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == oci_spec::runtime::LinuxNamespaceType::User);
    if !mapped {
        return Some(uid);
    }
    let within =
        |m: &&LinuxIdMapping| (m.container_id()..).take(m.size() as usize).any(|id| id == uid);
    let mapping = linux.uid_mappings().as_ref()?.iter().find(within)?;
    Some(mapping.host_id() + (uid - mapping.container_id()))
}

/// Gives this process's standard streams to the user of `process`, so that it can open
/// `/dev/stderr` also where that is a pipe of root's.
pub fn give_streams(spec: &Spec, process: &Process) {
    if process.terminal() == Some(true) {
        return;
    }
    if let Some(uid) = host_uid(spec, process.user().uid()) {
        give(std::io::stdin().as_fd(), uid);
        give(std::io::stdout().as_fd(), uid);
        give(std::io::stderr().as_fd(), uid);
    }
}

/// A file that cannot change hands is left as it is, as runc leaves it.
pub(super) fn give(stream: BorrowedFd<'_>, uid: u32) {
    let Ok(found) = rustix::fs::fstat(stream) else { return };
    let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
    if found.st_uid != uid && device != NULL {
        let _ = fchown(stream, Some(uid), None);
    }
}

/// /dev/null, which is everybody's.
const NULL: (u32, u32) = (1, 3);

fn is_null(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|found| {
        let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && device == NULL
    })
}

/// Opens the streams of a first process that are /dev/null for reading and writing, inside the container. The engine has put
/// the container's own device there by then, opened for reading: a program whose output goes to /dev/null could not write.
///
/// A device that the container's user may not open stays as the engine opened it.
///
/// # Errors
/// dup2(2)'s.
pub(super) fn open_null_for_writing() -> io::Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let [input, output, error] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(is_null);
    if !(input || output || error) {
        return Ok(());
    }
    // For both also a FIFO opens at once, should another container have put one there: of that nothing is kept.
    let mut open = File::options();
    open.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let Ok(null) = open.open("/dev/null") else { return Ok(()) };
    if !is_null(null.as_fd()) {
        return Ok(());
    }
    if input {
        dup2_stdin(&null)?;
    }
    if output {
        dup2_stdout(&null)?;
    }
    if error {
        dup2_stderr(&null)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_mapped_to_the_hosts() {
        let spec = |linux: &str| -> Spec {
            serde_json::from_str(&format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#)).unwrap()
        };
        assert_eq!(host_uid(&spec("{}"), 7), Some(7));
        let mapped = spec(
            r#"{"namespaces":[{"type":"user"}],
                "uidMappings":[{"containerID":0,"hostID":1000,"size":1},
                               {"containerID":1,"hostID":100000,"size":65535}]}"#,
        );
        assert_eq!(host_uid(&mapped, 0), Some(1000));
        assert_eq!(host_uid(&mapped, 65535), Some(165_534));
        assert_eq!(host_uid(&mapped, 65536), None);
        let joined = spec(r#"{"namespaces":[{"type":"user","path":"/proc/1/ns/user"}]}"#);
        assert_eq!(host_uid(&joined, 0), None);
    }
}
