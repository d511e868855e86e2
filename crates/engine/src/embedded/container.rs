//! The embedded engine: libcontainer performs the verbs and keeps the container's state.

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcontainer::container::state::StateError;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sharedroot_format::ContainerId;

use super::notify::Relay;
use crate::container::signal;
use crate::hooks::callers::CallersHooks;
use crate::hooks::later::Later;
use crate::reason::reason;
use crate::{EngineError, engine_log};

/// The status of a container, in runc's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The engine is creating the container.
    Creating,
    /// The container waits for `start`.
    Created,
    /// The container's process runs.
    Running,
    /// The container's process has ended.
    Stopped,
    /// The container is frozen.
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

/// The file beside the configuration that records when the init process started.
pub(crate) const STARTED: &str = "init-started";

/// When a process started, in clock ticks after boot (proc_pid_stat(5), field 22). Together with the process ID this
/// distinguishes the process from a later one. `None` if there is no such process.
pub(crate) fn started(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may contain any character.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long another command may take to write the engine's state file of a container. The engine truncates the file
/// first.
const WRITING: Duration = Duration::from_secs(5);

/// Reads the engine's directory of a container. If the state file ends too early, another command is writing it.
fn read(dir: &Path) -> Result<Container, LibcontainerError> {
    let end = Instant::now() + WRITING;
    loop {
        match Container::load(dir.to_owned()) {
            Err(LibcontainerError::State(StateError::ParseStateFile { source, .. }))
                if source.is_eof() && Instant::now() < end =>
            {
                // The engine has logged this as an error. If the log kept the error, a later failure would have it as
                // the reason.
                engine_log::forget();
                sleep(Duration::from_millis(5));
            }
            // The container's process ended while the engine read its entries in /proc.
            Err(LibcontainerError::Procfs(_)) if Instant::now() < end => {}
            read => return read,
        }
    }
}

/// Gives the container a process ID that no process has (proc_sys_kernel(5), `pid_max`), and the status "stopped".
fn forget(container: &mut Container) {
    container.set_pid(i32::MAX).set_status(ContainerStatus::Stopped);
}

/// One container of one state root.
#[derive(Debug)]
pub struct Embedded {
    root: PathBuf,
    id: ContainerId,
    /// sharedroot's own directory of the container: the bundle that the engine reads.
    bundle: PathBuf,
    /// The mount namespace of this process's caller, for hooks that run after this process made the container's root.
    callers: OnceCell<Rc<File>>,
}

impl Embedded {
    /// The container `id` below the state root `root`, made from sharedroot's bundle at `bundle`. The container need
    /// not exist.
    #[must_use]
    pub fn new(root: &Path, id: &ContainerId, bundle: &Path) -> Self {
        let (root, bundle) = (root.to_owned(), bundle.to_owned());
        Self { root, id: id.clone(), bundle, callers: OnceCell::new() }
    }

    /// Has the hooks of later verbs run where those of `create` run.
    pub fn take_callers(&self, hooks: &CallersHooks) {
        if let Some(callers) = hooks.callers() {
            let _ = self.callers.set(callers);
        }
    }

    fn callers(&self) -> Option<&File> {
        self.callers.get().map(Rc::as_ref)
    }

    /// The container ID.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The state root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// sharedroot's own directory of this container.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// The engine's directory of this container.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(self.id.as_str())
    }

    /// Whether the engine has a container of this ID.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dir().is_dir()
    }

    pub(crate) fn fail(
        &self,
        verb: &'static str,
    ) -> impl Fn(LibcontainerError) -> EngineError + '_ {
        move |source| EngineError::Engine { verb, id: self.id.clone(), why: reason(&source) }
    }

    /// The engine's state of the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Engine`].
    pub fn load(&self, verb: &'static str) -> Result<Container, EngineError> {
        if !self.exists() {
            return Err(EngineError::NotFound { id: self.id.clone() });
        }
        let mut container = read(&self.dir()).map_err(self.fail(verb))?;
        let known = std::fs::read_to_string(self.bundle.join(STARTED)).ok();
        let is_others = container.pid().is_some_and(|pid| match started(pid.as_raw()) {
            Some(now) => known.is_none_or(|known| now != known),
            None => false,
        });
        if is_others {
            // By now another process has the number, which is not the container's; or the owner is unknown, because
            // `create` died before it recorded when its process started.
            forget(&mut container);
        }
        Ok(container)
    }

    /// The container that this process has just made. No process has waited for the init process yet, so its number
    /// cannot belong to another process.
    pub(crate) fn load_new(&self) -> Result<Container, EngineError> {
        read(&self.dir()).map_err(self.fail("create"))
    }

    /// The container's init process; `None` if it has ended. The descriptor is opened first, and the number's owner is
    /// compared afterwards, so that the descriptor cannot be that of a later process with the same number.
    ///
    /// # Errors
    /// pidfd_open(2)'s.
    pub(crate) fn hold(&self, container: &Container) -> std::io::Result<Option<OwnedFd>> {
        let pid = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
        let Some(pid) = pid else { return Ok(None) };
        let held = match pidfd_open(pid, PidfdFlags::empty()) {
            // INVAL: Linux before 6.15 returns it for a process that has ended and whose number still names a session
            // or a group.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            held => held?,
        };
        Ok(self.is_init(pid.as_raw_nonzero().get()).then_some(held))
    }

    /// Whether `pid` is the number of the init process that `create` made.
    pub(crate) fn is_init(&self, pid: i32) -> bool {
        let known = std::fs::read_to_string(self.bundle.join(STARTED)).ok();
        known.is_some() && started(pid) == known
    }

    /// Starts the container's program.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(&self) -> Result<(), EngineError> {
        let mut container = self.load("start")?;
        self.require("start", &container, Container::can_start)?;
        let id = &self.id;
        let engine = |why| EngineError::Engine { verb: "start", id: id.clone(), why };
        let later = self.later("start")?;
        let executed = later.as_ref().map(|later| later.watch(&self.bundle)).transpose();
        let executed = executed.map_err(|e| engine(format!("watch its start: {e}")))?.flatten();
        container.start().map_err(self.fail("start"))?;
        let ran = executed.map_or(Ok(()), |executed| executed.wait().map_err(engine));
        let hook = |source| EngineError::Hook { verb: "start", id: id.clone(), source };
        ran.and_then(|()| match later {
            Some(later) => later.after_start(&container.state, self.callers()).map_err(hook),
            None => Ok(()),
        })
        .inspect_err(|_| {
            // runtime-spec: a container whose hook fails is stopped.
            let _ = self.kill("KILL", false);
        })
    }

    /// The socket at which the container's program will say that it is ready, made before the program runs. If the
    /// socket cannot be made, that is a warning: systemd's own time-out ends a service that is never ready.
    #[must_use]
    pub fn listen(&self) -> Option<Relay> {
        let opened = self.load("start").ok().and_then(|container| {
            let init = self.hold(&container).transpose()?;
            init.and_then(|init| Relay::open(&self.notify_dir(), init)).transpose()
        });
        opened.and_then(|opened| {
            opened.map_err(|e| tracing::warn!("start {}: NOTIFY_SOCKET: {e}", self.id)).ok()
        })
    }

    /// The directory that is bound into the container, and in which its program finds the socket.
    #[must_use]
    pub fn notify_dir(&self) -> PathBuf {
        self.bundle.join("notify")
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

    pub(crate) fn require(
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

    /// Sends a signal to the init process, or to all processes of the container.
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
        let fail = |e: std::io::Error| EngineError::Cgroup {
            verb: "kill",
            id: self.id.clone(),
            source: e.into(),
        };
        if all {
            self.signal_all(&container, signal)?;
        } else {
            let init = self.hold(&container).map_err(fail)?;
            let init = init.ok_or_else(|| EngineError::NotRunning { id: self.id.clone() })?;
            signal::send(&init, signal).map_err(fail)?;
        }
        if signal == rustix::process::Signal::KILL && container.status() == ContainerStatus::Paused
        {
            // A frozen process of cgroup v1 does not even end by SIGKILL.
            self.thaw()?;
        }
        Ok(())
    }

    /// Kills the init process if it is outside of the container's cgroup, and waits for its end.
    fn end_init(&self, container: &Container) -> Result<(), EngineError> {
        let fail = |why: String| EngineError::Engine { verb: "delete", id: self.id.clone(), why };
        let held = self.hold(container).map_err(|e| fail(format!("open its process: {e}")))?;
        let Some(init) = held else { return Ok(()) };
        signal::send(&init, rustix::process::Signal::KILL)
            .map_err(|e| fail(format!("kill its process: {e}")))?;
        match signal::await_end(&init, PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(fail(format!("its process does not end within {PATIENCE:?} after SIGKILL")))
            }
            Err(e) => Err(fail(format!("wait for its process: {e}"))),
        }
    }

    /// Removes the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::WrongStatus`] and the engine's own errors.
    pub fn delete(&self, force: bool) -> Result<(), EngineError> {
        let mut container = match self.load("delete") {
            // A `create` that was killed before it wrote a state leaves a directory without a state.
            Err(EngineError::Engine { .. }) if force => {
                let _ = std::fs::remove_dir_all(self.dir());
                return Ok(());
            }
            loaded => loaded?,
        };
        let may = |container: &Container| {
            force
                || matches!(container.status(), ContainerStatus::Stopped | ContainerStatus::Created)
        };
        self.require("delete", &container, may)?;
        self.remove_cgroup(&container);
        self.end_init(&container)?;
        // The library would send the signal by number to the process that it believes to be the container's.
        forget(&mut container);
        container.delete(force).map_err(self.fail("delete"))?;
        if let Some(later) = self.later("delete")? {
            later.after_end(&container.state, self.callers());
        }
        Ok(())
    }
}
