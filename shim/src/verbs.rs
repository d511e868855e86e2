//! The verbs as functions, for a program that is no command line: containerd's shim.
//!
//! Each function is for a process of its own, as each command of the command line has one. Such a process logs as that
//! verb, may leave the host's mount namespace, and gives its three standard streams to the container's process. Its
//! caller makes the process, hears the result, and ends the process.

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
        let Engine::Embedded(embedded) = container.engine() else { return 0 };
        let pid = container.init(embedded).ok().filter(|pid| pid.as_raw() != i32::MAX);
        pid.and_then(|pid| u32::try_from(pid.as_raw()).ok()).unwrap_or(0)
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
        self.embedded("exec", id, |container, embedded| {
            if !embedded.exists() {
                return Err(EngineError::NotFound { id: container.id().clone() }.into());
            }
            let process = parse_process(container.id(), Path::new("the request"), process)?;
            let spec = container.spec()?;
            let tenant = Tenant::new(&spec, process)?;
            let terminal = Terminal { console_socket, detach: true, ..Terminal::default() };
            let pid = embedded.exec(&spec, &tenant, &terminal)?;
            tell(format_args!("exec: process {pid}"));
            Ok(pid)
        })
    }

    /// `kill`: sends a signal to the init process or, as `kill --all`, to every process.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn kill(&self, id: &str, signal: u32, reach: Reach) -> Result<(), VerbError> {
        self.embedded("kill", id, |container, embedded| {
            Ok(container.kill(embedded, &signal.to_string(), reach)?)
        })
    }

    /// `ps`: the process IDs of the container.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn processes(&self, id: &str) -> Result<Vec<i32>, VerbError> {
        self.embedded("ps", id, |_, embedded| Ok(embedded.processes()?))
    }

    /// `events --stats`: the figures of the container's cgroup.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn figures(&self, id: &str) -> Result<Figures, VerbError> {
        self.embedded("events", id, |_, embedded| {
            embedded.figures()?.ok_or_else(|| VerbError::Host {
                verb: "events",
                id: id.to_owned(),
                lacks: "cgroup v2",
            })
        })
    }

    /// `pause`: freezes the container, and writes a private rootfs back.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn pause(&self, id: &str) -> Result<(), VerbError> {
        self.embedded("pause", id, |container, _| Ok(container.pause().map(drop)?))
    }

    /// `resume`: thaws the container.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn resume(&self, id: &str) -> Result<(), VerbError> {
        self.embedded("resume", id, |container, embedded| Ok(container.resume(embedded)?))
    }

    /// `update`: sets the limits of the JSON text `resources`.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn update(&self, id: &str, resources: &[u8]) -> Result<(), VerbError> {
        self.embedded("update", id, |container, embedded| {
            Ok(container.update(embedded, Limits::parse("the request".into(), resources)?)?)
        })
    }

    fn embedded<T>(
        &self,
        verb: &'static str,
        id: &str,
        act: impl FnOnce(&Container, &Embedded) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        self.with(verb, id, |container| act(container, embedded_of(container.engine(), verb, id)?))
    }

    fn with<T>(
        &self,
        verb: &'static str,
        id: &str,
        act: impl FnOnce(&Container) -> Result<T, VerbError>,
    ) -> Result<T, VerbError> {
        began();
        let container: ContainerId = id.parse().map_err(LifecycleError::from)?;
        let file = |source| LifecycleError::File { step: "log to", path: "the log".into(), source };
        let log = self.log.as_ref().map(File::try_clone).transpose().map_err(file)?;
        log::start_for(&self.global, verb, &container, log).map_err(file)?;
        let done = Container::named(&self.global, id, &self.config)
            .map_err(VerbError::from)
            .and_then(|container| act(&container));
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

fn embedded_of<'a>(
    engine: &'a Engine,
    verb: &'static str,
    id: &str,
) -> Result<&'a Embedded, VerbError> {
    match engine {
        Engine::Embedded(embedded) => Ok(embedded),
        Engine::Delegate(delegate) => Err(VerbError::Delegate {
            verb,
            id: id.to_owned(),
            engine: delegate.program().display().to_string(),
        }),
    }
}
