//! The verbs as functions, for a program that is no command line: containerd's shim.
//!
//! Each function is for a process of its own, as each command of the command line has one. Such a process logs as that
//! verb, may leave the host's mount namespace, and gives its three standard streams to the container's process. Its
//! caller makes the process, hears the result, and ends the process.

mod delegated;
mod error;
mod life;

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use sharedroot_engine::{
    Embedded, Engine, EngineError, Figures, Limits, Reach, Tenant, Terminal, parse_process,
};
use sharedroot_format::ContainerId;
use sharedroot_sys::process_start::began;

use crate::cli::{Global, LogFormat};
use crate::config::Config;
pub use crate::config::Group;
pub use crate::lifecycle::LifecycleError;
use crate::lifecycle::{Container, tell};
use crate::log;
use crate::privilege;
use crate::starts::{self, Step};

use delegated::{Delegated, Said};
pub use error::{Failure, VerbError};
pub use life::{Made, New};

/// The configuration file.
const CONFIG: &str = "/etc/sharedroot/config.toml";

/// The verbs on the containers of one state root.
#[derive(Debug)]
pub struct Verbs {
    global: Global,
    config: Config,
    log: Option<File>,
}

impl Verbs {
    /// Reads the configuration. `state_root` is runc's `--root`.
    ///
    /// # Errors
    /// The caller is not root of the host, or the configuration cannot be used.
    pub fn load(state_root: &Path) -> Result<Self, LifecycleError> {
        privilege::root_of_the_host()?;
        let config = Config::load(Path::new(CONFIG))?;
        let global = Global {
            root: state_root.to_owned(),
            log: None,
            log_format: LogFormat::Text,
            debug: false,
            systemd_cgroup: false,
            engine: None,
            rootless: None,
            config: CONFIG.into(),
        };
        Ok(Self { global, config, log: None })
    }

    /// Has messages written to `log`, and each step with `debug`.
    #[must_use]
    pub fn logging(mut self, log: Option<File>, debug: Debug) -> Self {
        self.log = log;
        self.global.debug = debug == Debug::On;
        self
    }

    /// The directory of what sharedroot keeps until the next boot.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.config.pool.run_dir
    }

    /// Which containers one server of containerd's shim serves.
    #[must_use]
    pub fn group(&self) -> Group {
        self.config.shim.group
    }

    /// The container's init process; 0 if it has ended or is not known.
    #[must_use]
    pub fn init(&self, id: &str) -> u32 {
        let Ok(container) = Container::named(&self.global, id, &self.config) else { return 0 };
        let pid = match container.engine() {
            Engine::Embedded(embedded) => container.init(embedded).ok().map(Pid::as_raw),
            Engine::Delegate(delegate) => delegate.init().ok().flatten(),
        };
        let pid = pid.filter(|pid| *pid != i32::MAX);
        pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
    }

    /// `exec`: starts the process of the JSON text `process`, as a child of this process.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn exec(
        &self,
        id: &str,
        process: &[u8],
        console_socket: Option<PathBuf>,
    ) -> Result<Pid, VerbError> {
        let by_engine = |container: &Container, embedded: &Embedded| {
            if !embedded.exists() {
                return Err(EngineError::NotFound { id: container.id().clone() }.into());
            }
            let process = parse_process(container.id(), Path::new("the request"), process)?;
            let spec = container.spec()?;
            let tenant = Tenant::new(&spec, process)?;
            let console_socket = console_socket.clone();
            let terminal = Terminal { console_socket, detach: true, ..Terminal::default() };
            let pid = embedded.exec(&spec, &tenant, &terminal)?;
            tell(format_args!("exec: process {pid}"));
            Ok(pid)
        };
        self.either("exec", id, by_engine, |other| other.exec(process, console_socket.clone()))
    }

    /// `kill`: sends a signal to the init process or, as `kill --all`, to every process.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn kill(&self, id: &str, signal: u32, reach: Reach) -> Result<(), VerbError> {
        let by_engine = |container: &Container, embedded: &Embedded| {
            Ok(container.kill(embedded, &signal.to_string(), reach)?)
        };
        self.either("kill", id, by_engine, |other| other.kill(signal, reach))
    }

    /// `ps`: the process IDs of the container.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn processes(&self, id: &str) -> Result<Vec<i32>, VerbError> {
        self.either("ps", id, |_, embedded| Ok(embedded.processes()?), |other| other.processes())
    }

    /// `events --stats`: the figures of the container's cgroup.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn figures(&self, id: &str) -> Result<Figures, VerbError> {
        let figures = self.either(
            "events",
            id,
            |_, embedded| Ok(embedded.figures()?),
            |other| other.figures(),
        )?;
        let lacks = "cgroup v2";
        figures.ok_or_else(|| VerbError::Host { verb: "events", id: id.to_owned(), lacks })
    }

    /// `pause`: freezes the container, and writes a private rootfs back.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn pause(&self, id: &str) -> Result<(), VerbError> {
        let by_engine = |container: &Container, _: &Embedded| Ok(container.pause().map(drop)?);
        self.either("pause", id, by_engine, |other| other.check(other.container.pause()?))
    }

    /// `resume`: thaws the container.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn resume(&self, id: &str) -> Result<(), VerbError> {
        self.either("resume", id, |c, embedded| Ok(c.resume(embedded)?), |other| other.resume())
    }

    /// `update`: sets the limits of the JSON text `resources`.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn update(&self, id: &str, resources: &[u8]) -> Result<(), VerbError> {
        let by_engine = |container: &Container, embedded: &Embedded| {
            Ok(container.update(embedded, Limits::parse("the request".into(), resources)?)?)
        };
        self.either("update", id, by_engine, |other| other.update(resources))
    }

    /// Does it by the embedded engine in this process, or by a call of another runtime.
    fn either<T>(
        &self,
        verb: &'static str,
        id: &str,
        by_engine: impl FnOnce(&Container, &Embedded) -> Result<T, VerbError>,
        by_delegate: impl FnOnce(&Delegated<'_>) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        self.with(verb, id, |container, said| match container.engine() {
            Engine::Embedded(embedded) => by_engine(container, embedded),
            Engine::Delegate(delegate) => {
                by_delegate(&Delegated { container, delegate, verb, said })
            }
        })
    }

    fn with<T>(
        &self,
        verb: &'static str,
        id: &str,
        act: impl FnOnce(&Container, &Said) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        self.with_global(&self.global, verb, id, act)
    }

    fn with_global<T>(
        &self,
        global: &Global,
        verb: &'static str,
        id: &str,
        act: impl FnOnce(&Container, &Said) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        began();
        let container: ContainerId = id.parse().map_err(LifecycleError::from)?;
        let file = |source| LifecycleError::File { step: "log to", path: "the log".into(), source };
        let log = self.log.as_ref().map(File::try_clone).transpose().map_err(file)?;
        log::start_for(global, verb, &container, log).map_err(file)?;
        let said = Said::new().map_err(file)?;
        // What another runtime is told to log to.
        let global =
            Global { log: Some(said.path()), log_format: LogFormat::Json, ..global.clone() };
        let done = Container::named(&global, id, &self.config)
            .map_err(VerbError::from)
            .and_then(|container| act(&container, &said));
        if done.is_err() {
            let step = Step::Failed(verb.to_owned());
            starts::note(self.run_dir(), step, began(), "-".to_owned());
        }
        log::deliver();
        done
    }
}

/// Whether each step is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debug {
    /// Only what goes wrong and what is decided.
    Off,
    /// Each step.
    On,
}
