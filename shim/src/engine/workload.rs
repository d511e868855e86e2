//! The last steps inside the container, between the engine's set-up and execve: what the engine
//! leaves out is done here, and a failure ends the process before any of the image's code runs.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use caps::{CapSet, Capability};
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::unistd::{AccessFlags, access, execve};
use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::home;
use super::normal::UNKNOWN_HOME;
use crate::label::ProcessLabel;

/// Where programs are looked for if the process has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The capabilities an `exec` keeps until its filter is loaded: loading needs CAP_SYS_ADMIN
/// (seccomp(2), without no_new_privs), taking capabilities out of the bounding set CAP_SETPCAP.
pub const LATE_CAPABILITIES: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP];

/// How the process is confined beyond what the engine does.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// The SELinux label of the process.
    pub label: Option<ProcessLabel>,
    /// Of an `exec`: the container's filter, which the engine does not load for it.
    pub filter: Option<Box<LinuxSeccomp>>,
    /// Of an `exec`: capabilities that were lent for the filter and must go.
    pub lent: Vec<Capability>,
    /// The environment that the engine made of the configuration's.
    environment: OnceLock<HashMap<String, String>>,
}

impl Workload {
    /// A process confined by all of these.
    #[must_use]
    pub fn new(
        label: Option<ProcessLabel>,
        filter: Option<Box<LinuxSeccomp>>,
        lent: Vec<Capability>,
    ) -> Self {
        Self { label, filter, lent, environment: OnceLock::new() }
    }

    /// The environment in the form of execve(2).
    fn environment(&self, uid: u32) -> Result<Vec<CString>, String> {
        let variables = self.environment.get().ok_or("the engine gave no environment")?;
        variables
            .iter()
            .map(|(name, value)| match format!("{name}={value}") {
                unknown if unknown == UNKNOWN_HOME => format!("HOME={}", home::of_user(uid)),
                known => known,
            })
            .map(|text| CString::new(text).map_err(|e| format!("process.env: {e}")))
            .collect()
    }
}

impl Executor for Workload {
    /// Runs before `create` reports success, so that what fails here fails `create`.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refused = ExecutorValidationError::ArgValidationError;
        program(spec).map_err(refused)?;
        match &self.label {
            Some(label) => label.set_for_exec().map_err(|e| refused(e.to_string())),
            None => Ok(()),
        }
    }

    /// Keeps the environment for execve(2); this process's own stays as it is.
    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        let twice = |_| ExecutorSetEnvsError::Other("the environment was set twice".into());
        self.environment.set(envs).map_err(twice)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let fail = |why: String| ExecutorError::Execution(why.into());
        let (path, args) = program(spec).map_err(fail)?;
        let uid = spec.process().as_ref().map_or(0, |process| process.user().uid());
        let env = self.environment(uid).map_err(fail)?;
        for lent in &self.lent {
            caps::drop(None, CapSet::Bounding, *lent)
                .map_err(|e| fail(format!("drop {lent} from the bounding set: {e}")))?;
        }
        if let Some(filter) = &self.filter {
            // Last before execve. The lent capabilities end with it: they are no longer in the
            // bounding set, nor inheritable, nor ambient (capabilities(7), "Transformation of
            // capabilities during execve()").
            match initialize_seccomp(filter) {
                Ok(None) => {}
                Ok(Some(_)) => return Err(fail("a seccomp listener has no place in exec".into())),
                Err(e) => return Err(fail(format!("load the seccomp filter: {e}"))),
            }
        }
        let Err(error) = execve(&path, &args, &env);
        Err(fail(format!("exec {path:?}: {error}")))
    }
}

/// The program that execvp(3) would find, and its arguments. Errors are in the words that
/// Docker's daemon looks for to tell exit codes 126 and 127.
fn program(spec: &Spec) -> Result<(CString, Vec<CString>), String> {
    let process = spec.process().as_ref().ok_or("process is missing")?;
    let args = process.args().as_deref().unwrap_or_default();
    let name = args.first().ok_or("process.args is missing")?;
    let env = process.env().as_deref().unwrap_or_default();
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let found = find(name, path, process.cwd())?;
    let text = |s: &str| CString::new(s).map_err(|_| format!("process.args: {s:?} has a NUL"));
    let all = args.iter().map(|a| text(a)).collect::<Result<_, _>>()?;
    Ok((text(&found.to_string_lossy())?, all))
}

fn find(name: &str, path: &str, cwd: &Path) -> Result<PathBuf, String> {
    let usable = |p: &Path| p.is_file() && access(p, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        let given = cwd.join(name);
        return match given.metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Err(e) => Err(format!("exec: {name:?}: {e}")),
            Ok(_) if usable(&given) => Ok(given),
            Ok(_) => Err(format!("exec: {name:?}: permission denied")),
        };
    }
    path.split(':')
        .map(|dir| cwd.join(dir).join(name))
        .find(|candidate| usable(candidate))
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let root = Path::new("/");
        assert!(find("sh", "/nowhere:/bin", root).unwrap().ends_with("bin/sh"));
        assert_eq!(find("bin/sh", "", root).unwrap(), Path::new("/bin/sh"));
        let missing = find("no-such-program", DEFAULT_PATH, root).unwrap_err();
        assert!(missing.contains("executable file not found in $PATH"));
        assert!(find("/no/such", "", root).unwrap_err().contains("no such file or directory"));
        assert!(find("/etc/passwd", "", root).unwrap_err().contains("permission denied"));
        assert!(find("/etc", "", root).unwrap_err().contains("permission denied"));
    }
}
