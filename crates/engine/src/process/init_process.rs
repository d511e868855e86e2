//! The init process of a container, cloned into its cgroup and its PID namespace.
//!
//! The engine's own steps need two more processes: one that joins the cgroup by a write to `cgroup.procs`, which waits
//! for an RCU grace period of 5 to 15 ms (cgroup_attach_lock() in the kernel's kernel/cgroup/cgroup.c), and that is the
//! parent of the first process in a new PID namespace. clone3(2) does both at once and does not wait. The engine's code
//! leads the process from there.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::rc::Rc;

use libcgroups::common::{CgroupConfig, CgroupManager, ControllerOpt, create_cgroup_manager};
use libcontainer::config::YoukiConfig;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::hooks::run_hooks;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifyListener};
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::channel::{self, InitReceiver, InitSender, MainReceiver, MainSender};
use libcontainer::process::init::process::container_init_process;
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::utils;
use libcontainer::validator::Validator;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, close, geteuid};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sharedroot_sys::chain::chain;
use sharedroot_sys::clone3::{Relation, fork};
use sharedroot_sys::new_file;

use super::child_setup::{BoxError, arguments, harden_child, reason};
use super::clone3::{End, TargetCgroup, leave};
use super::console::Console;
use super::executor::Workload;
use crate::hooks::heard::heard;
use crate::{CreateOptions, Embedded, engine_log};

/// A container that has no process yet.
#[derive(Debug)]
pub struct InitProcess<'a> {
    dir: PathBuf,
    container: Container,
    spec: Rc<Spec>,
    workload: Workload,
    place: &'a TargetCgroup,
    options: &'a CreateOptions,
}

/// Whether clone3(2) can make the container's first process. A configuration that needs a process between the creator
/// and the first process is left to the engine.
#[must_use]
pub fn is_simple(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let plain = namespaces.iter().all(|namespace| match namespace.typ() {
        LinuxNamespaceType::User | LinuxNamespaceType::Time => false,
        LinuxNamespaceType::Pid => namespace.path().is_none(),
        _ => true,
    });
    let agent = linux.seccomp().as_ref().is_some_and(|filter| filter.listener_path().is_some());
    let devices = linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty());
    plain && !agent && !devices && linux.intel_rdt().is_none()
}

impl<'a> InitProcess<'a> {
    /// Checks `spec` as the engine does, and makes the engine's directory of the container.
    ///
    /// # Errors
    /// A field that the engine refuses, or a file that cannot be made.
    pub fn new(
        embedded: &Embedded,
        spec: Spec,
        workload: Workload,
        place: &'a TargetCgroup,
        options: &'a CreateOptions,
    ) -> Result<Self, BoxError> {
        check(&spec)?;
        let terminal = spec.process().as_ref().and_then(|process| process.terminal());
        let wanted = options.detach && terminal == Some(true);
        if wanted != options.console_socket.is_some() {
            return Err(match wanted {
                true => {
                    "process.terminal is true, so --console-socket must name a socket to receive it"
                }
                false => "--console-socket is for a terminal of a container that is detached",
            }
            .into());
        }
        let (id, dir) = (embedded.id().as_str(), embedded.dir());
        fs::create_dir_all(embedded.root())?;
        fs::create_dir(&dir)?;
        let creating = ContainerStatus::Creating;
        let mut container = Container::new(id, creating, None, embedded.bundle(), &dir)?;
        container.set_systemd(false).set_annotations(spec.annotations().clone()).save()?;
        YoukiConfig::from_spec(&spec, id)?.save(&dir)?;
        Ok(Self { dir, container, spec: Rc::new(spec), workload, place, options })
    }

    /// Starts the init process as a child of this one. The init process then waits for `start`.
    ///
    /// # Errors
    /// The step that failed; then no process is left.
    pub fn spawn(mut self) -> Result<(), BoxError> {
        let socket = self.options.console_socket.as_deref();
        let console = socket.map(Console::new).transpose()?;
        self.limit()?;
        let args = self.args(console.as_ref())?;
        let (mut says, mut said) = channel::main_channel()?;
        let (mut answers, mut answered) = channel::init_channel()?;
        let Some(pid) = fork(Some(self.place.descriptor()), self.relation())? else {
            let led = self.lead(&args, console.as_ref(), &mut says, &mut answered, &answers);
            if let Err(why) = &led {
                self.report(&**why, &mut says);
            }
            leave(End::from(&led))
        };
        says.close()?;
        answered.close()?;
        let led = self.attend(pid, console, &mut said, &mut answers);
        if led.is_err() {
            let _ = kill(pid, Signal::SIGKILL);
            waitpid(pid, None)?;
            if self.place.ran_out_of_memory() {
                // runc's words.
                return Err("container init was OOM-killed (memory limit too low?)".into());
            }
        }
        led
    }

    /// Sets the cgroup's limits before a process is in it.
    fn limit(&self) -> Result<(), BoxError> {
        let Some(linux) = self.spec.linux() else { return Ok(()) };
        let Some(resources) = linux.resources() else { return Ok(()) };
        let limits = ControllerOpt {
            resources,
            disable_oom_killer: false,
            oom_score_adj: None,
            freezer_state: None,
        };
        Ok(create_cgroup_manager(self.cgroup())?.apply(&limits)?)
    }

    fn cgroup(&self) -> CgroupConfig {
        let path = self.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
        CgroupConfig {
            cgroup_path: utils::get_cgroup_path(&path, self.container.id()),
            systemd_cgroup: false,
            container_name: self.container.id().to_owned(),
        }
    }

    /// In the init process: closes what belongs to the host, and runs the engine's code. Returns only if that, or the
    /// user's program, fails.
    fn lead(
        &self,
        args: &ContainerArgs,
        console: Option<&Console<'_>>,
        says: &mut MainSender,
        answered: &mut InitReceiver,
        answers: &InitSender,
    ) -> Result<(), BoxError> {
        // An open directory of the host would lead the process out again (CVE-2024-21626).
        close(self.place.descriptor().as_raw_fd())?;
        answers.close()?;
        console.map(Console::close_ours).transpose()?;
        let process = self.spec.process().as_ref().ok_or("process is missing")?;
        harden_child(process)?;
        Ok(container_init_process(args, says, answered)?)
    }

    /// In the init process: reports why it failed.
    fn report(&self, why: &(dyn std::error::Error + 'static), says: &mut MainSender) {
        let process = self.spec.process().as_ref();
        let sysctls = self.spec.linux().as_ref().and_then(|linux| linux.sysctl().clone());
        let sysctls = sysctls.unwrap_or_default();
        let failed = why.downcast_ref().zip(process);
        let words = failed.and_then(|(why, process)| reason(process, Some(&sysctls), why));
        // This comes first, because the parent ends this process as soon as the parent learns of the failure.
        if let Some(words) = &words {
            engine_log::explain(words);
        }
        if says.exec_failed(words.unwrap_or_else(|| chain(why))).is_err() {
            // After `start` no process of sharedroot is the parent any more.
            tracing::error!("{}", chain(why));
        }
    }

    /// Does the steps for the init process that it cannot do itself, until it waits for `start`.
    fn attend(
        &mut self,
        pid: Pid,
        console: Option<Console<'_>>,
        said: &mut MainReceiver,
        answers: &mut InitSender,
    ) -> Result<(), BoxError> {
        if !self.place.holds(pid.as_raw()) {
            return Err("the process is not in the container's cgroup".into());
        }
        if let Some(file) = &self.options.pid_file {
            let fail = |e| format!("write {}: {e}", file.display());
            // As with runc, a process that waits for the file finds its whole content.
            new_file::write(file, pid.to_string().as_bytes(), 0o644).map_err(fail)?;
        }
        self.container.set_creator(geteuid().as_raw()).set_pid(pid.as_raw());
        if let Some(hooks) = self.spec.hooks() {
            said.wait_for_hook_request()?;
            // Each hook runs alone, so that a failed hook's message has only that hook's standard error.
            for hook in [hooks.prestart(), hooks.create_runtime()].into_iter().flatten().flatten() {
                let (hook, state) = (vec![hook.clone()], Some(&self.container.state));
                heard(|| run_hooks(Some(&hook), state, None, None, None))?;
            }
            answers.hook_done()?;
        }
        answers.close()?;
        said.wait_for_init_ready()?;
        if let (Some(console), Some(process)) = (console, self.spec.process()) {
            console.hand_over(&self.spec, process)?;
        }
        Ok(self.container.set_status(ContainerStatus::Created).save()?)
    }

    fn relation(&self) -> Relation {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
        let mut all = namespaces.unwrap_or_default().iter();
        if all.any(|namespace| namespace.typ() == LinuxNamespaceType::Pid) {
            Relation::InitOfNewPidNamespace
        } else {
            Relation::Child
        }
    }

    fn args(&self, console: Option<&Console<'_>>) -> Result<ContainerArgs, BoxError> {
        let root = self.spec.root().as_ref().ok_or("root is missing")?;
        Ok(ContainerArgs {
            rootfs: fs::canonicalize(root.path())?,
            console_socket: console.map(Console::engines),
            preserve_fds: self.options.preserve_fds,
            container: Some(self.container.clone()),
            detached: self.options.detach,
            no_pivot: self.options.no_pivot,
            ..arguments(
                ContainerType::InitContainer,
                Rc::clone(&self.spec),
                NotifyListener::new(&self.dir.join(NOTIFY_FILE))?,
                self.cgroup(),
                self.workload.clone(),
            )
        })
    }
}

/// The engine's own checks of a configuration.
fn check(spec: &Spec) -> Result<(), BoxError> {
    Validator::validate_spec(spec)?;
    if let Some(mounts) = spec.mounts() {
        utils::validate_mount_options(mounts)?;
    }
    utils::validate_spec_for_new_user_ns(spec, &*create_syscall())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_process_between_is_left_to_the_engine() {
        let simple = |linux: &str| {
            let text = format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#);
            is_simple(&serde_json::from_str(&text).unwrap())
        };
        let own = r#"{"type":"pid"},{"type":"mount"},{"type":"network","path":"/n"}"#;
        assert!(simple(&format!(r#"{{"namespaces":[{own}]}}"#)));
        assert!(simple("{}"), "the host's pid namespace");
        for other in [r#"{"type":"user"}"#, r#"{"type":"time"}"#, r#"{"type":"pid","path":"/p"}"#] {
            assert!(!simple(&format!(r#"{{"namespaces":[{other}]}}"#)), "{other}");
        }
        for part in [
            r#"{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s"}}"#,
            r#"{"netDevices":{"eth0":{}}}"#,
            r#"{"intelRdt":{}}"#,
        ] {
            assert!(!simple(part), "{part}");
        }
    }
}
