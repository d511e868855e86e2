//! The embedded engine: libcontainer, told what to do and asked what is.

use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;

use super::birth::{self, Birth, Birthplace};
use super::descriptors::close_inherited;
use super::hooks::{CallersHooks, HookFailed, Later};
use super::normal::{Labels, SpecError};
use super::volumes::Volumes;
use super::workload::Workload;
use super::{filter, session, signal};
use crate::bundle::ContainerId;
use crate::forbidden::Forbidden;
use crate::json::JsonError;
use crate::log::{self, engine_words};

/// A verb of the engine that failed on a container.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no container of that ID. runc's words, which containerd's shim looks for.
    #[error("container {id} does not exist")]
    NotFound {
        /// The container ID.
        id: ContainerId,
    },
    /// A signal for a container that has ended. runc's words, which containerd's shim looks for.
    #[error("kill {id}: container not running")]
    NotRunning {
        /// The container ID.
        id: ContainerId,
    },
    /// The verb does not fit the container's status.
    #[error("{verb} {id}: the container is {status}")]
    WrongStatus {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// Its status.
        status: Status,
    },
    /// Not a signal that this host knows.
    #[error("kill: {signal:?} is no signal; give a name such as TERM or a number from 1 to 64")]
    Signal {
        /// What was given.
        signal: String,
    },
    /// libcontainer's own error.
    #[error("{verb} {id}: {why}")]
    Engine {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// What the engine logged first, which is closest to the cause, or what it returned.
        why: String,
    },
    /// A hook of the caller's.
    #[error("{verb} {id}: {source}")]
    Hook {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// Which hook, and why.
        source: HookFailed,
    },
    /// The container's cgroup did not answer or obey.
    #[error("{verb} {id}: cgroup")]
    Cgroup {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// The library's reasons.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `update --resources` is not of OCI's form.
    #[error("{path} is not LinuxResources: {source}")]
    Resources {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What and where.
        source: JsonError,
    },
    /// A limit that cannot be enforced.
    #[error(transparent)]
    Limit(#[from] SpecError),
    /// What the specification forbids.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A description of a process for `exec` cannot be used.
    #[error("exec {id}: {what}")]
    Process {
        /// The container ID.
        id: ContainerId,
        /// What is wrong.
        what: String,
    },
    /// The terminal and its socket do not fit.
    #[error("process.terminal is true, so --console-socket must name a socket to receive it")]
    Console,
}

/// The status of a container, in runc's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Waits for `start`.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended.
    Stopped,
    /// Frozen.
    Paused,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        })
    }
}

impl From<ContainerStatus> for Status {
    fn from(status: ContainerStatus) -> Self {
        match status {
            ContainerStatus::Creating => Self::Creating,
            ContainerStatus::Created => Self::Created,
            ContainerStatus::Running => Self::Running,
            ContainerStatus::Stopped => Self::Stopped,
            ContainerStatus::Paused => Self::Paused,
        }
    }
}

/// The file beside the configuration that says when the init process started.
const STARTED: &str = "init-started";

/// When a process started, in clock ticks after boot (proc_pid_stat(5), field 22): with the number
/// it tells a process from a later one. `None` if there is no such process.
pub(super) fn started(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(19).map(str::to_owned)
}

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

/// One container of one state root.
#[derive(Debug)]
pub struct Embedded {
    root: PathBuf,
    id: ContainerId,
    /// Our own directory of the container: the bundle that the engine reads.
    bundle: PathBuf,
}

impl Embedded {
    /// The container `id` below the state root `root`, made from the bundle of ours at `bundle`;
    /// it need not exist.
    #[must_use]
    pub fn new(root: &Path, id: &ContainerId, bundle: &Path) -> Self {
        Self { root: root.to_owned(), id: id.clone(), bundle: bundle.to_owned() }
    }

    /// The container ID.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Our own directory of this container.
    pub(super) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// The engine's own directory of this container.
    pub(super) fn dir(&self) -> PathBuf {
        self.root.join(self.id.as_str())
    }

    /// Whether the engine has a container of this ID.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dir().is_dir()
    }

    pub(super) fn fail(
        &self,
        verb: &'static str,
    ) -> impl Fn(LibcontainerError) -> EngineError + '_ {
        move |source| EngineError::Engine {
            verb,
            id: self.id.clone(),
            why: engine_words().unwrap_or_else(|| log::chain(&source)),
        }
    }

    pub(super) fn builder(&self) -> Result<ContainerBuilder, LibcontainerError> {
        ContainerBuilder::new(self.id.to_string(), SyscallType::default())
            .with_root_path(&self.root)
    }

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
        let wrong = |what: String| EngineError::Process { id: self.id.clone(), what };
        close_inherited(options.preserve_fds)
            .map_err(|e| wrong(format!("close what the caller left open: {e}")))?;
        self.leave_callers_session(labels.process.as_ref(), options.no_new_keyring)?;
        if let Some(process) = spec.process() {
            session::give_streams(spec, process);
        }
        let mut workload = Workload::new(labels.process.clone(), None, Vec::new());
        workload.start = hooks
            .keep(&self.bundle, spec, self.id.as_str())
            .map_err(|e| wrong(format!("keep the hooks: {e}")))?;
        let bundle = self.engines_bundle(spec, &mut workload).map_err(wrong)?;
        let build = || {
            self.builder()?
                .with_executor(workload)
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
            Some(place) => self.born("create", place, !options.detach, || {
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
            hooks.undo(spec, self.id.as_str());
        }
        made
    }

    /// The bundle that the engine reads for `create`. Another than our own where the filter is not the engine's to load.
    fn engines_bundle(&self, spec: &Spec, workload: &mut Workload) -> Result<PathBuf, String> {
        let mut engines = spec.clone();
        let Some(filter) = filter::Late::take(&mut engines) else { return Ok(self.bundle.clone()) };
        workload.start.filter = Some(filter);
        let bundle = self.bundle.join("engine");
        let text = serde_json::to_vec(&engines).map_err(|e| e.to_string())?;
        std::fs::create_dir(&bundle)
            .and_then(|()| std::fs::write(bundle.join("config.json"), text))
            .map_err(|e| format!("write {}: {e}", bundle.display()))?;
        Ok(bundle)
    }

    /// Runs the engine in a process that is born in `place`; what it started must be there, too.
    pub(super) fn born(
        &self,
        verb: &'static str,
        place: &Birthplace,
        adopt: bool,
        work: impl FnOnce() -> Result<i32, LibcontainerError>,
    ) -> Result<i32, EngineError> {
        let fail = |why: String| EngineError::Engine {
            verb,
            id: self.id.clone(),
            why: engine_words().unwrap_or(why),
        };
        let decoy = self.bundle.join("cgroup.procs");
        let birth = place.run(&decoy, adopt, || work().map_err(|e| log::chain(&e)));
        match birth.map_err(|e| fail(format!("start the engine in its cgroup: {e}")))? {
            Birth::Process(pid) if place.holds(pid) => Ok(pid),
            Birth::Process(_) => Err(fail("its process is not in its cgroup".to_owned())),
            Birth::Refused(why) => Err(fail(why)),
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
        let wrong = |what: String| EngineError::Process { id: self.id.clone(), what };
        volumes.settle(pid).map_err(|e| wrong(e.to_string()))?;
        if let Some(process) = spec.process() {
            session::give_terminal(pid, spec, process);
        }
        let started = started(pid).ok_or_else(|| wrong("its process has ended".to_owned()))?;
        std::fs::write(self.bundle.join(STARTED), started)
            .map_err(|e| wrong(format!("write {STARTED}: {e}")))
    }

    /// What the engine knows of the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Engine`].
    pub fn load(&self, verb: &'static str) -> Result<Container, EngineError> {
        if !self.exists() {
            return Err(EngineError::NotFound { id: self.id.clone() });
        }
        let mut container = Container::load(self.dir()).map_err(self.fail(verb))?;
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        if let Ok(known) = std::fs::read_to_string(self.bundle.join(STARTED))
            && started(pid).is_some_and(|now| now != known)
        {
            // The number belongs to another process by now, which is none of ours.
            container.set_pid(i32::MAX).set_status(ContainerStatus::Stopped);
        }
        Ok(container)
    }

    /// Runs the container's process.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(&self) -> Result<(), EngineError> {
        let mut container = self.load("start")?;
        self.require("start", &container, Container::can_start)?;
        let wrong = |what: String| EngineError::Process { id: self.id.clone(), what };
        let later = self.later("start")?;
        let executed = later.as_ref().map(|later| later.watch(&self.bundle)).transpose();
        let executed = executed.map_err(|e| wrong(format!("watch its start: {e}")))?.flatten();
        container.start().map_err(self.fail("start"))?;
        let id = &self.id;
        let engine = |why| EngineError::Engine { verb: "start", id: id.clone(), why };
        let ran = executed.map_or(Ok(()), |executed| executed.wait().map_err(engine));
        let hook = |source| EngineError::Hook { verb: "start", id: id.clone(), source };
        ran.and_then(|()| match later {
            Some(later) => later.after_start(&container.state).map_err(hook),
            None => Ok(()),
        })
        .inspect_err(|_| {
            // The specification has a container stopped whose hook fails.
            let _ = self.kill("KILL", false);
        })
    }

    /// The hooks that run after `create`.
    fn later(&self, verb: &'static str) -> Result<Option<Later>, EngineError> {
        Later::read(&self.bundle).map_err(|e| EngineError::Engine {
            verb,
            id: self.id.clone(),
            why: format!("read its hooks: {e}"),
        })
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn pause(&self) -> Result<(), EngineError> {
        let mut container = self.load("pause")?;
        self.require("pause", &container, Container::can_pause)?;
        container.pause().map_err(self.fail("pause"))
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn resume(&self) -> Result<(), EngineError> {
        let mut container = self.load("resume")?;
        self.require("resume", &container, Container::can_resume)?;
        container.resume().map_err(self.fail("resume"))
    }

    fn require(
        &self,
        verb: &'static str,
        container: &Container,
        able: impl Fn(&Container) -> bool,
    ) -> Result<(), EngineError> {
        if able(container) {
            return Ok(());
        }
        let status = container.status().into();
        Err(EngineError::WrongStatus { verb, id: self.id.clone(), status })
    }

    /// Sends a signal to the init process, or to all.
    ///
    /// # Errors
    /// [`EngineError::Signal`], [`EngineError::NotRunning`] and the engine's.
    pub fn kill(&self, text: &str, all: bool) -> Result<(), EngineError> {
        let signal =
            signal::parse(text).ok_or_else(|| EngineError::Signal { signal: text.to_owned() })?;
        let container = self.load("kill")?;
        if !container.can_kill() && !all {
            return Err(EngineError::NotRunning { id: self.id.clone() });
        }
        let init = container.pid().map_or(0, |pid| pid.as_raw());
        let pids = if all { self.processes()? } else { vec![init] };
        for pid in pids {
            signal::send(pid, signal).map_err(|e| EngineError::Cgroup {
                verb: "kill",
                id: self.id.clone(),
                source: e.into(),
            })?;
        }
        if signal == rustix::process::Signal::KILL && container.status() == ContainerStatus::Paused
        {
            // A frozen process of cgroup v1 does not even die.
            self.thaw()?;
        }
        Ok(())
    }

    /// Removes the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::WrongStatus`] and the engine's.
    pub fn delete(&self, force: bool) -> Result<(), EngineError> {
        let mut container = match self.load("delete") {
            // A `create` that was killed before it wrote a state leaves a directory without one.
            Err(EngineError::Engine { .. }) if force => {
                let _ = std::fs::remove_dir_all(self.dir());
                return Ok(());
            }
            loaded => loaded?,
        };
        if force || container.can_delete() {
            self.remove_child_cgroups(&container);
        }
        container.delete(force).map_err(|source| match source {
            LibcontainerError::IncorrectStatus(status) => EngineError::WrongStatus {
                verb: "delete",
                id: self.id.clone(),
                status: status.into(),
            },
            source => self.fail("delete")(source),
        })?;
        if let Some(later) = self.later("delete")? {
            later.after_end(&container.state);
        }
        Ok(())
    }
}
