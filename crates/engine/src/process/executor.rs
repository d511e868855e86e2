//! The last steps inside the container, between the engine's set-up and execve: what the engine leaves out is done
//! here, and a failure ends the process before any of the image's code runs.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use caps::{CapSet, Capability};
use libcontainer::container::State;
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::unistd::{AccessFlags, Pid, access, close, execve};
use oci_spec::runtime::{PosixRlimit, Spec};
use sharedroot_label::ProcessLabel;
use sharedroot_sys::chain::chain;
use sharedroot_sys::say_aside;

use super::clone3::{End, leave};
use super::{passwd, stdio};
use crate::hooks::callers::AtStart;
use crate::hooks::heard::call_at_start;
use crate::hooks::later;
use crate::reason::words;
use crate::seccomp::program::Program;
use crate::spec::process::UNKNOWN_HOME;

/// The directories in which a program is searched if the process has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the process is confined beyond what the engine does.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// The SELinux label of the process.
    pub label: Option<ProcessLabel>,
    /// Of an `exec`: the container's filter, which the engine does not load for a process of `exec`.
    pub filter: Option<Program>,
    /// Of an `exec`: the capabilities that were lent for loading the filter and must be dropped.
    pub lent: Vec<Capability>,
    /// Whether the process is the init process of a container.
    pub first: bool,
    /// A limit that is set last.
    pub limit: Option<PosixRlimit>,
    /// What an init process does at its start.
    pub start: AtStart,
    /// The environment that the engine made from the configuration's.
    environment: OnceLock<HashMap<String, String>>,
}

impl Workload {
    /// A process with all these confinements.
    #[must_use]
    pub fn new(
        label: Option<ProcessLabel>,
        filter: Option<Program>,
        lent: Vec<Capability>,
    ) -> Self {
        Self { label, filter, lent, ..Self::default() }
    }

    /// The environment that the process gets.
    fn environment(&self, uid: u32) -> Result<HashMap<String, String>, String> {
        let mut variables = self.environment.get().ok_or("the engine gave no environment")?.clone();
        if let Some(home) = variables.get_mut("HOME")
            && format!("HOME={home}") == UNKNOWN_HOME
        {
            *home = passwd::of_user(uid);
        }
        Ok(variables)
    }

    /// Runs the hooks of an init process, in the environment that the process gets.
    fn run_hooks(&self, environment: &HashMap<String, String>) -> Result<(), String> {
        let Some(state) = &self.start.state else { return Ok(()) };
        let state = State { pid: Some(Pid::this().as_raw()), ..state.clone() };
        self.start.hooks.iter().try_for_each(|hook| {
            call_at_start(hook, &state, environment, self.start.ear.as_deref())
                .map_err(|failed| chain(&failed))
        })
    }

    /// Executes the user's program. Returns only if that fails, with the reason.
    fn execute(&self, spec: &Spec) -> Result<std::convert::Infallible, String> {
        let uid = spec.process().as_ref().map_or(0, |process| process.user().uid());
        let environment = self.environment(uid)?;
        self.run_hooks(&environment)?;
        let (path, args) = program(spec)?;
        let given = spec.process().as_ref().and_then(|process| process.env().as_deref());
        let env = in_order(given.unwrap_or_default(), environment)
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("process.env: {e}"))?;
        if let Some(limit) = &self.limit {
            create_syscall()
                .set_rlimit(limit)
                .map_err(|e| format!("process.rlimits: {:?}: {e}", limit.typ()))?;
        }
        for lent in &self.lent {
            caps::drop(None, CapSet::Bounding, *lent)
                .map_err(|e| format!("drop {lent} from the bounding set: {e}"))?;
        }
        if let Some(filter) = &self.filter {
            // Last before execve. The lent capabilities end with it: they are no longer in the
            // bounding set, nor inheritable, nor ambient (capabilities(7), "Transformation of
            // capabilities during execve()").
            filter.load()?;
        }
        let Err(error) = execve(&path, &args, &env);
        self.end(&format!("exec {}: {}", path.to_string_lossy(), words(error)))
    }

    /// Ends a process that no command waits for any more. As with runc, the process writes why the program could not
    /// start to the program's standard error.
    fn end(&self, why: &str) -> ! {
        if let Some(executed) = &self.start.executed {
            later::tell(executed, why);
        }
        say_aside!("{why}");
        leave(End::Failed)
    }
}

impl Executor for Workload {
    /// This runs before `create` reports success, so a failure here makes `create` fail.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refused = ExecutorValidationError::ArgValidationError;
        if let Some(open) = self.start.close {
            close(open).map_err(|e| refused(format!("close what belongs to the host: {e}")))?;
        }
        if self.first {
            stdio::open_null_for_writing()
                .map_err(|e| refused(format!("open /dev/null for its streams: {e}")))?;
        }
        program(spec).map_err(refused)?;
        if let Some(label) = &self.label {
            label.set_for_exec().map_err(|e| refused(e.to_string()))?;
        }
        match &self.start.filter {
            Some(filter) => filter.load().map_err(refused),
            None => Ok(()),
        }
    }

    /// Keeps the environment for execve(2). This process's own environment stays as it is.
    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        let twice = |_| ExecutorSetEnvsError::Other("the environment was set twice".into());
        self.environment.set(envs).map_err(twice)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Err(why) = self.execute(spec);
        if self.first {
            self.end(&why);
        }
        Err(ExecutorError::Execution(why.into()))
    }
}

/// The variables of `all` in the order of the configuration. A variable that is given twice has the place of the last
/// entry, as with runc. The variables that the engine added come last.
fn in_order(given: &[String], mut all: HashMap<String, String>) -> Vec<String> {
    let mut ordered: Vec<String> = Vec::with_capacity(all.len());
    for variable in given.iter().rev() {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        if let Some((name, value)) = all.remove_entry(name) {
            ordered.push(format!("{name}={value}"));
        }
    }
    ordered.reverse();
    let mut added: Vec<_> =
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    added.sort_unstable();
    ordered.append(&mut added);
    ordered
}

/// Finds the program that execvp(3) would find, and its arguments. The errors have the words by which Docker's daemon
/// chooses the exit codes 126 and 127.
fn program(spec: &Spec) -> Result<(CString, Vec<CString>), String> {
    let process = spec.process().as_ref().ok_or("process is missing")?;
    let args = process.args().as_deref().unwrap_or_default();
    let name = args.first().ok_or("process.args is missing")?;
    let env = process.env().as_deref().unwrap_or_default();
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let found = find(name, path, process.cwd())?;
    let text = |s: &str| {
        CString::new(s).map_err(|_| "process.args: an argument has a NUL byte".to_owned())
    };
    let all = args.iter().map(|a| text(a)).collect::<Result<_, _>>()?;
    Ok((text(&found.to_string_lossy())?, all))
}

fn find(name: &str, path: &str, cwd: &Path) -> Result<PathBuf, String> {
    let usable = |p: &Path| p.is_file() && access(p, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        let given = cwd.join(name);
        return match given.metadata() {
            Err(e) => {
                let errno = nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or_default());
                Err(format!("exec: {name:?}: stat {name}: {}", words(errno)))
            }
            Ok(found) if found.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) if usable(&given) => Ok(given),
            Ok(_) => Err(format!("exec: {name:?}: permission denied")),
        };
    }
    let missing = || format!("exec: {name:?}: executable file not found in $PATH");
    // `.`, or an empty PATH, names no program.
    if name.is_empty() || path.is_empty() {
        return Err(missing());
    }
    let (dir, found) = path
        .split(':')
        .map(|dir| (dir, cwd.join(dir).join(name)))
        .find(|(_, candidate)| usable(candidate))
        .ok_or_else(missing)?;
    // Otherwise a user who can write into the process's working directory would choose its program. Go's LookPath, and
    // so runc, refuses this, too.
    if !dir.starts_with('/') {
        return Err(format!(
            "exec: {name:?}: cannot run executable found relative to current directory"
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_keeps_its_order_and_the_last_one_wins() {
        let given = ["B=1", "A=2", "C=x=y", "B=3", "D"].map(str::to_owned);
        let all = [("B", "3"), ("A", "2"), ("C", "x=y"), ("D", ""), ("LISTEN_PID", "1")];
        let more = [("LISTEN_FDS", "2")];
        let all = all.into_iter().chain(more).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let ordered = ["A=2", "C=x=y", "B=3", "D=", "LISTEN_FDS=2", "LISTEN_PID=1"];
        assert_eq!(in_order(&given, all), ordered);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let root = Path::new("/");
        assert!(find("sh", "/nowhere:/bin", root).unwrap().ends_with("bin/sh"));
        assert_eq!(find("bin/sh", "", root).unwrap(), Path::new("/bin/sh"));
        let missing = find("no-such-program", DEFAULT_PATH, root).unwrap_err();
        assert!(missing.contains("executable file not found in $PATH"));
        assert!(find("/no/such", "", root).unwrap_err().contains("no such file or directory"));
        assert!(find("/etc/passwd", "", root).unwrap_err().contains("permission denied"));
        assert!(find("/etc", "", root).unwrap_err().contains("is a directory"));
        let below_a_file = find("/etc/passwd/sh", "", root).unwrap_err();
        assert!(below_a_file.ends_with("stat /etc/passwd/sh: not a directory"), "{below_a_file}");
        for (name, path) in [("sh", ""), ("", "/bin"), ("", "")] {
            let missing = find(name, path, Path::new("/bin")).unwrap_err();
            assert!(missing.contains("executable file not found in $PATH"), "{name} {path}");
        }
        for path in ["bin:/bin", "", ":/bin", ".:/bin", "/nowhere:."] {
            let cwd = Path::new(if path == "bin:/bin" { "/" } else { "/bin" });
            let relative = find("sh", path, cwd).unwrap_err();
            let words = if path.is_empty() { "not found" } else { "relative to current directory" };
            assert!(relative.contains(words), "{path}: {relative}");
        }
    }
}
