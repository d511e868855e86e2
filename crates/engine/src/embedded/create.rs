//! A new container of the embedded engine, and the steps that the engine leaves out of its creation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;
use sharedroot_sys::chain::chain;
use sharedroot_sys::new_file;
use sharedroot_sys::process::started;

use super::state::InitRecord;
use crate::asked::Deletion;
use crate::container::members::{PidNamespace, inode};
use crate::container::stats;
use crate::hooks::callers::{CallersHooks, Maker};
use crate::mounts::bind_mounts::BindMounts;
use crate::mounts::dev;
use crate::mounts::devices::Devices;
use crate::mounts::{device_dirs, masked_paths};
use crate::process::child_setup::late_limit;
use crate::process::clone3::{self, TargetCgroup};
use crate::process::console::NamedConsole;
use crate::process::executor::Workload;
use crate::process::inherited_fds::close_inherited;
use crate::process::init_process::{self, InitProcess};
use crate::process::{limits, loopback, stdio};
use crate::reason::reason;
use crate::seccomp::filter;
use crate::spec::error::SpecError;
use crate::spec::labels::Labels;
use crate::spec::resources;
use crate::{Embedded, EngineError};

/// The options of `create`.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The file that receives the process ID.
    pub pid_file: Option<PathBuf>,
    /// The socket that receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// How many further descriptors the container's program inherits.
    pub preserve_fds: i32,
    /// Enter the root with MS_MOVE and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Let systemd manage the cgroup.
    pub systemd_cgroup: bool,
    /// The caller does not wait for the container's end.
    pub detach: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
}

/// What sharedroot mounts and makes beside the engine.
#[derive(Clone, Copy)]
struct Mounted<'a> {
    volumes: &'a BindMounts,
    devices: &'a Devices,
}

impl Embedded {
    /// Makes the container. Its init process then waits for `start`.
    ///
    /// # Errors
    /// [`EngineError::Engine`]; then nothing of the container is left.
    pub fn create(
        &self,
        spec: &Spec,
        labels: &Labels,
        volumes: &BindMounts,
        hooks: &CallersHooks,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        let wrong =
            |why: String| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        close_inherited(options.preserve_fds)
            .map_err(|e| wrong(format!("close what the caller left open: {e}")))?;
        self.leave_callers_session(labels.process.as_ref(), options.no_new_keyring)?;
        if let Some(process) = spec.process() {
            stdio::give_streams(spec, process);
        }
        let mut workload = Workload::new(labels.process.clone(), None, Vec::new());
        workload.start = hooks
            .keep(self.bundle(), spec, self.id().as_str())
            .map_err(|e| wrong(format!("keep the hooks: {e}")))?;
        let mut engines = spec.clone();
        dev::cover(&mut engines);
        let devices = Devices::take(&mut engines);
        if let Some(root) = spec.root() {
            devices.make_in_root(root.path()).map_err(|e| wrong(chain(&e)))?;
        }
        workload.start.filter = filter::Late::take(&mut engines).map_err(SpecError::from)?;
        workload.first = true;
        workload.limit = engines.process_mut().as_mut().and_then(late_limit);
        limits::take(&mut engines);
        if options.systemd_cgroup
            && let Some(linux) = engines.linux_mut()
            && let Some(resources) = linux.resources()
        {
            let told = resources::for_systemd(resources, None);
            linux.set_resources(Some(told));
        }
        // `hack/bench runtime` reads these two lines.
        tracing::debug!("the engine begins");
        let simple = !options.systemd_cgroup && init_process::is_simple(spec);
        let place = simple.then(|| clone3::of_new(spec)).flatten();
        let maker = if place.is_some() { Maker::Sharedroot } else { Maker::Engine };
        hooks.stand_in(&mut engines, maker);
        let built = self.begin(engines, workload, place.as_ref(), hooks, options);
        tracing::debug!("the engine is done");
        // The engine's directory has the annotations and hooks, readable by all users, and the state root may be
        // accessible to them.
        let only_root = fs::Permissions::from_mode(0o700);
        let built = built.and_then(|()| {
            fs::set_permissions(self.dir(), only_root)
                .map_err(|e| wrong(format!("protect {}: {e}", self.dir().display())))
        });
        let made = built.and_then(|()| self.load_new()).and_then(|container| {
            self.complete(spec, &container, labels, Mounted { volumes, devices: &devices }, options)
                .inspect_err(|_| {
                    let _ = self.delete(Deletion::Forced);
                })
        });
        if made.is_err() && self.exists() {
            // The engine does not remove its directory when it refuses the container before its first fork.
            let _ = fs::remove_dir_all(self.dir());
        }
        if let (Err(_), Some(place)) = (&made, &place) {
            place.remove(PidNamespace::of(spec));
        }
        if made.is_err() {
            hooks.undo(spec, self.id().as_str());
        }
        made
    }

    /// Makes the container, by sharedroot's shorter way if the init process can be cloned into `place`.
    fn begin(
        &self,
        spec: Spec,
        workload: Workload,
        place: Option<&TargetCgroup>,
        hooks: &CallersHooks,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        let wrong = |why| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        let built = match place {
            Some(place) => InitProcess::new(self, spec, workload, place, options)
                .and_then(InitProcess::spawn)
                .map_err(|why| wrong(reason(&*why))),
            None => self.build(&spec, workload, options),
        };
        let said = hooks.repeat();
        built.map_err(|error| match (error, said) {
            (EngineError::Engine { why, .. }, Some(said)) if why.contains("hook") => {
                wrong(format!("{why}, stderr: {said}"))
            }
            (error, _) => error,
        })
    }

    /// Lets the engine create the container with its own processes, which takes longer.
    fn build(
        &self,
        spec: &Spec,
        workload: Workload,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        // This is another bundle than sharedroot's, because here the engine must not load the filter.
        let bundle = self.bundle().join("engine");
        fs::create_dir(&bundle)
            .and_then(|()| fs::write(bundle.join("config.json"), serde_json::to_vec(spec)?))
            .map_err(|e| EngineError::Engine {
                verb: "create",
                id: self.id().clone(),
                why: format!("write {}: {e}", bundle.display()),
            })?;
        let wrong = |why| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        let console = options.console_socket.as_deref().map(|s| NamedConsole::new(s, &bundle));
        let console = console.transpose().map_err(|e| wrong(format!("make a socket: {e}")))?;
        let build = || {
            ContainerBuilder::new(self.id().to_string(), SyscallType::default())
                .with_root_path(self.root())?
                .with_executor(workload)
                .with_console_socket(console.as_ref().map(NamedConsole::path))
                .with_preserved_fds(options.preserve_fds)
                .as_init(&bundle)
                .with_systemd(options.systemd_cgroup)
                .with_detach(options.detach)
                .with_no_pivot(options.no_pivot)
                .build()
        };
        let pid = build().map_err(self.fail("create"))?.pid();
        let told = match (console, spec.process()) {
            (Some(console), Some(process)) => {
                console.hand_over(spec, process).map_err(|e| wrong(chain(&e)))
            }
            _ => Ok(()),
        };
        // The engine does not write the file: it would write into an existing file of that name, or follow a symbolic
        // link.
        let named = || match (&options.pid_file, pid) {
            (Some(file), Some(pid)) => new_file::write(file, pid.to_string().as_bytes(), 0o644)
                .map_err(|e| wrong(format!("write {}: {e}", file.display()))),
            _ => Ok(()),
        };
        told.and_then(|()| named()).inspect_err(|_| drop(self.delete(Deletion::Forced)))
    }

    /// Does what the engine leaves out of `create`.
    fn complete(
        &self,
        spec: &Spec,
        container: &Container,
        labels: &Labels,
        mounted: Mounted<'_>,
        options: &CreateOptions,
    ) -> Result<(), EngineError> {
        let Mounted { volumes, devices } = mounted;
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        let wrong =
            |why: String| EngineError::Engine { verb: "create", id: self.id().clone(), why };
        // This is the first step: without the record every later command takes the init process for a process of
        // another container.
        let started = started(pid)
            .map_err(|e| wrong(format!("see when its process started: {e}")))?
            .ok_or_else(|| wrong("its process has ended".to_owned()))?;
        let cgroup = stats::unified(pid).as_deref().and_then(inode);
        let pids = Some(PidNamespace::of(spec));
        self.record_init(&InitRecord { started, pid: Some(pid), pids, cgroup })
            .map_err(|e| wrong(format!("record its process: {e}")))?;
        if options.systemd_cgroup {
            self.record_cgroup(container).map_err(|e| wrong(format!("record its cgroup: {e}")))?;
            self.limit_new_scope(container, spec)?;
        }
        if dev::volume(spec).is_some() {
            dev::uncover(spec, pid).map_err(|e| wrong(chain(&e)))?;
        }
        if let Some(root) = spec.root() {
            let cgroup = self.own_cgroup(container);
            volumes.fill(root.path(), cgroup.as_deref()).map_err(|e| wrong(chain(&e)))?;
        }
        // This step must precede the change of the volumes' propagation: until then the volumes propagate no further
        // than they did when the engine made its masks.
        masked_paths::label(spec, labels.mount.as_ref(), pid).map_err(|e| wrong(chain(&e)))?;
        devices.make(pid).map_err(|e| wrong(chain(&e)))?;
        if devices.left_to_engine {
            device_dirs::protect(spec, pid).map_err(|e| wrong(chain(&e)))?;
        }
        limits::set(spec, pid).map_err(wrong)?;
        dev::protect(spec, pid).map_err(|e| wrong(chain(&e)))?;
        volumes.settle(pid).map_err(|e| wrong(chain(&e)))?;
        loopback::set_up(spec, pid).map_err(|e| wrong(format!("set lo up: {e}")))?;
        if let Some(process) = spec.process() {
            self.hand_over_cgroup(pid, spec, process)?;
        }
        Ok(())
    }
}
