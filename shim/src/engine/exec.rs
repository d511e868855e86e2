//! `exec`: one more process in a container, confined as its init process is.
//!
//! libcontainer gives such a process no seccomp filter and, from a process file without
//! capabilities, all of root's. Both are mended here: the capabilities are completed from the
//! container's configuration, and the filter is loaded by the workload right before execve.

use std::fs::File;
use std::path::PathBuf;

use libcontainer::capabilities::CapabilityExt;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::{Capabilities, Capability as SpecCapability, Process, Spec};

use super::birth;
use super::normal::normalise_process;
use super::workload::{LATE_CAPABILITIES, Workload};
use super::{Engine, EngineError};
use crate::label::{self, LabelError, ProcessLabel};

/// What `exec` was asked for.
#[derive(Debug)]
pub struct Tenant {
    /// The process, completed.
    process: Process,
    workload: Workload,
}

/// How the caller is connected to the process.
#[derive(Debug, Default)]
pub struct Terminal {
    /// File that receives the process ID.
    pub pid_file: Option<PathBuf>,
    /// Socket that receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Further descriptors to pass.
    pub preserve_fds: i32,
    /// Do not wait for its end.
    pub detach: bool,
    /// Also in a paused container.
    pub ignore_paused: bool,
}

impl Tenant {
    /// Completes `process` with what the container's own configuration says.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn new(spec: &Spec, mut process: Process) -> Result<Self, LabelError> {
        let init = spec.process().as_ref();
        if process.capabilities().is_none() {
            process.set_capabilities(init.and_then(|p| p.capabilities().clone()));
        }
        if init.is_some_and(|p| p.no_new_privileges() == Some(true)) {
            process.set_no_new_privileges(Some(true));
        }
        if process.apparmor_profile().is_none() {
            process.set_apparmor_profile(init.and_then(|p| p.apparmor_profile().clone()));
        }
        normalise_process(&mut process);
        let given = process.selinux_label().clone().filter(|l| !l.is_empty());
        let inherited = init.and_then(|p| p.selinux_label().clone()).filter(|l| !l.is_empty());
        let label = match given.or(inherited) {
            Some(text) if !label::enabled() => {
                return Err(LabelError::Disabled { field: "process.selinuxLabel", label: text });
            }
            text => text.as_deref().map(ProcessLabel::parse).transpose()?,
        };
        let filter = spec.linux().as_ref().and_then(|l| l.seccomp().clone()).map(Box::new);
        let lent = match filter {
            Some(_) if process.no_new_privileges() != Some(true) => lend(&mut process),
            _ => Vec::new(),
        };
        Ok(Self { process, workload: Workload { label, filter, lent } })
    }

    /// Whether the process wants a terminal.
    #[must_use]
    pub fn wants_terminal(&self) -> bool {
        self.process.terminal().unwrap_or(false)
    }
}

/// Adds capabilities by name to what a process may use, as `exec --cap` asks.
///
/// # Errors
/// The first name that is none.
pub fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let more = names
        .iter()
        .map(|name| name.parse().map(SpecCapability::from_cap).map_err(|_| name.clone()))
        .collect::<Result<Capabilities, _>>()?;
    grant(process, &more);
    Ok(())
}

/// Adds to what a process has and may have; inheritable and ambient capabilities stay as they are.
fn grant(process: &mut Process, more: &Capabilities) {
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let add = |set: &Option<Capabilities>| {
        Some(set.iter().flatten().chain(more).copied().collect::<Capabilities>())
    };
    sets.set_bounding(add(sets.bounding()));
    sets.set_effective(add(sets.effective()));
    sets.set_permitted(add(sets.permitted()));
    process.set_capabilities(Some(sets));
}

/// Adds the capabilities that loading a filter needs; returns those that were not there.
fn lend(process: &mut Process) -> Vec<caps::Capability> {
    let bounding = process.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
    let bounding = bounding.unwrap_or_default();
    grant(process, &LATE_CAPABILITIES.into_iter().map(SpecCapability::from_cap).collect());
    LATE_CAPABILITIES
        .into_iter()
        .filter(|capability| !bounding.contains(&SpecCapability::from_cap(*capability)))
        .collect()
}

impl Engine {
    /// Runs `tenant` in the container.
    ///
    /// Returns the exit status of the process, 0 when detached.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn exec(&self, tenant: &Tenant, terminal: &Terminal) -> Result<u8, EngineError> {
        let container = self.load("exec")?;
        if tenant.wants_terminal() && terminal.console_socket.is_none() {
            return Err(EngineError::Console);
        }
        let wrong = |what: String| EngineError::Process { id: self.id().clone(), what };
        let path = self.bundle().join(format!("exec-{}.json", std::process::id()));
        let text = serde_json::to_vec(&tenant.process).map_err(|e| wrong(e.to_string()))?;
        std::fs::write(&path, text).map_err(|e| wrong(format!("write {}: {e}", path.display())))?;
        let build = || {
            self.builder()?
                .with_executor(tenant.workload.clone())
                .with_pid_file(terminal.pid_file.as_ref())?
                .with_console_socket(terminal.console_socket.as_ref())
                .with_preserved_fds(terminal.preserve_fds)
                .as_tenant()
                .with_detach(terminal.detach)
                .with_ignore_paused(terminal.ignore_paused)
                .with_process(Some(&path))
                .build()
        };
        let built = {
            let _alone = self.exec_lock().map_err(|e| wrong(format!("lock: {e}")))?;
            let built = match birth::of_running(&container) {
                Some(place) => {
                    let pid = || build().map(|pid| pid.as_raw());
                    self.born("exec", &place, !terminal.detach, pid).map(Pid::from_raw)
                }
                None => build().map(|pid| Pid::from_raw(pid.as_raw())).map_err(self.fail("exec")),
            };
            self.remove_sockets();
            built
        };
        let _ = std::fs::remove_file(&path);
        let pid = built?;
        if terminal.detach { Ok(0) } else { wait(pid).map_err(|e| wrong(format!("wait: {e}"))) }
    }

    /// One `exec` of a container starts at a time, so that each can tell which sockets are over.
    fn exec_lock(&self) -> std::io::Result<Flock<File>> {
        let lock = File::create(self.bundle().join("exec.lock"))?;
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }

    /// The engine leaves the sockets behind by which it started the process.
    fn remove_sockets(&self) {
        let Ok(entries) = std::fs::read_dir(self.dir()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("tenant-") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Waits for a child; a signal becomes 128 and its number, as in a shell.
///
/// # Errors
/// waitpid(2)'s.
pub fn wait(pid: Pid) -> nix::Result<u8> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code & 0xff).unwrap_or(255)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(127)));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(extra: &str) -> Spec {
        serde_json::from_str(&format!(
            r#"{{"ociVersion":"1.2.0","process":{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},
               "capabilities":{{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],
               "permitted":["CAP_KILL"]}}{extra}}},
               "linux":{{"seccomp":{{"defaultAction":"SCMP_ACT_ALLOW"}}}}}}"#
        ))
        .unwrap()
    }

    fn process() -> Process {
        serde_json::from_str(r#"{"cwd":"/","args":["y"],"user":{"uid":0,"gid":0}}"#).unwrap()
    }

    #[test]
    fn exec_gets_the_containers_filter_and_capabilities() {
        let tenant = Tenant::new(&spec(""), process()).unwrap();
        assert!(tenant.workload.filter.is_some());
        assert_eq!(tenant.workload.lent, LATE_CAPABILITIES);
        let caps = tenant.process.capabilities().as_ref().unwrap();
        assert_eq!(caps.bounding().as_ref().unwrap().len(), 3, "CAP_KILL and the two lent");
        assert!(caps.inheritable().as_ref().unwrap().is_empty());
        assert!(caps.ambient().as_ref().unwrap().is_empty());
    }

    #[test]
    fn no_new_privileges_is_inherited_and_needs_no_loan() {
        let tenant = Tenant::new(&spec(r#","noNewPrivileges":true"#), process()).unwrap();
        assert_eq!(tenant.process.no_new_privileges(), Some(true));
        assert!(tenant.workload.lent.is_empty());
        let caps = tenant.process.capabilities().as_ref().unwrap();
        assert_eq!(caps.bounding().as_ref().unwrap().len(), 1);
    }
}
