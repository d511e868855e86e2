//! A new container of the embedded engine, and what the engine leaves out of it.

use std::path::PathBuf;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;

use super::birth::{self, Birth, Birthplace};
use super::descriptors::close_inherited;
use super::embedded::{STARTED, started};
use super::hooks::CallersHooks;
use super::normal::Labels;
use super::volumes::Volumes;
use super::workload::Workload;
use super::{Embedded, EngineError, filter, loopback, session};
use crate::log::{self, engine_words};

/// How `create` is wanted.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// File that receives the process ID.
    pub pid_file: Option<PathBuf>,
    /// Socket that receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Further descriptors to pass.
    pub preserve_fds: i32,
    /// Enter the root with MS_MOVE and chroot.
    pub no_pivot: bool,
    /// Let systemd manage the cgroup.
    pub systemd_cgroup: bool,
    /// The caller will not wait.
    pub detach: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
}

impl Embedded {
    /// Makes the container and leaves it waiting for `start`.
    ///
    /// # Errors
    /// [`EngineError::Engine`]; nothing of the container is left then.
    pub fn create(
        &self,
        spec: &Spec,
        labels: &Labels,
        volumes: &Volumes,
        hooks: &CallersHooks,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        let wrong =
            |why: String| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        close_inherited(options.preserve_fds)
            .map_err(|e| wrong(format!("close what the caller left open: {e}")))?;
        self.leave_callers_session(labels.process.as_ref(), options.no_new_keyring)?;
        if let Some(process) = spec.process() {
            session::give_streams(spec, process);
        }
        let mut workload = Workload::new(labels.process.clone(), None, Vec::new());
        workload.start = hooks
            .keep(self.bundle(), spec, self.id().as_str())
            .map_err(|e| wrong(format!("keep the hooks: {e}")))?;
        let bundle = self.engines_bundle(spec, &mut workload).map_err(wrong)?;
        let build = || {
            ContainerBuilder::new(self.id().to_string(), SyscallType::default())
                .with_root_path(self.root())?
                .with_executor(workload.clone())
                .with_pid_file(options.pid_file.as_ref())?
                .with_console_socket(options.console_socket.as_ref())
                .with_preserved_fds(options.preserve_fds)
                .as_init(&bundle)
                .with_systemd(options.systemd_cgroup)
                .with_detach(options.detach)
                .with_no_pivot(options.no_pivot)
                .build()
        };
        // `hack/bench runtime` reads these two lines.
        tracing::debug!("the engine begins");
        let place = birth::of_new(spec);
        let built = match &place {
            Some(place) => self.born(place, !options.detach, || {
                build().map(|container| container.pid().map_or(0, |pid| pid.as_raw()))
            }),
            None => build().map(|_| 0).map_err(self.fail("create")),
        };
        tracing::debug!("the engine is done");
        let made = built.and_then(|_| self.load("create")).and_then(|container| {
            self.complete(spec, &container, volumes, options).inspect_err(|_| {
                let _ = self.delete(true);
            })
        });
        if made.is_err() && self.exists() {
            // The engine leaves its directory behind when it refuses before the first fork.
            let _ = std::fs::remove_dir_all(self.dir());
        }
        if let (Err(_), Some(place)) = (&made, &place) {
            place.remove();
        }
        if made.is_err() {
            hooks.undo(spec, self.id().as_str());
        }
        made
    }

    /// The bundle that the engine reads for `create`. Another than our own where the filter is not the engine's to load.
    fn engines_bundle(&self, spec: &Spec, workload: &mut Workload) -> Result<PathBuf, String> {
        let mut engines = spec.clone();
        let Some(filter) = filter::Late::take(&mut engines) else {
            return Ok(self.bundle().to_owned());
        };
        workload.start.filter = Some(filter);
        let bundle = self.bundle().join("engine");
        let text = serde_json::to_vec(&engines).map_err(|e| e.to_string())?;
        std::fs::create_dir(&bundle)
            .and_then(|()| std::fs::write(bundle.join("config.json"), text))
            .map_err(|e| format!("write {}: {e}", bundle.display()))?;
        Ok(bundle)
    }

    /// Runs the engine in a process that is born in `place`; what it started must be there, too.
    fn born(
        &self,
        place: &Birthplace,
        adopt: bool,
        work: impl Fn() -> Result<i32, LibcontainerError>,
    ) -> Result<i32, EngineError> {
        let fail = |why: String| EngineError::Engine {
            verb: "create",
            id: self.id().clone(),
            why: engine_words().unwrap_or(why),
        };
        let decoy = self.bundle().join("cgroup.procs");
        let birth = place.run(&decoy, adopt, || work().map_err(|e| log::chain(&e)));
        match birth.map_err(|e| fail(format!("start the engine in its cgroup: {e}")))? {
            Birth::Process(pid) if place.holds(pid) => Ok(pid),
            Birth::Process(_) => Err(fail("its process is not in its cgroup".to_owned())),
            Birth::Refused(why) => Err(fail(why)),
            // A policy without `mounton` for cgroup_t does that.
            Birth::Exposed(why) => {
                tracing::debug!("the engine moves its process into the cgroup itself: {why}");
                work().map_err(self.fail("create"))
            }
            Birth::Killed => Err(fail("the engine was killed".to_owned())),
        }
    }

    /// What the engine leaves out of `create`.
    fn complete(
        &self,
        spec: &Spec,
        container: &Container,
        volumes: &Volumes,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        if options.systemd_cgroup {
            self.restrict_devices(pid)?;
        }
        let wrong =
            |why: String| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        volumes.settle(pid).map_err(|e| wrong(e.to_string()))?;
        loopback::set_up(spec, pid).map_err(|e| wrong(format!("set lo up: {e}")))?;
        if let Some(process) = spec.process() {
            session::give_terminal(pid, spec, process);
            self.hand_over_cgroup(pid, spec, process)?;
        }
        let started = started(pid).ok_or_else(|| wrong("its process has ended".to_owned()))?;
        std::fs::write(self.bundle().join(STARTED), started)
            .map_err(|e| wrong(format!("write {STARTED}: {e}")))
    }
}
