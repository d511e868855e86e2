//! The life of a container, by verbs.

mod create;
mod delete;
mod engines;
mod error;
mod handover;
mod order;
mod pause;
mod root;
mod run;
mod running;
mod story;

use std::path::PathBuf;

use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use serde::Serialize;
use sharedroot_engine::{
    BundleError, Choice, Embedded, Engine, EngineError, Relay, VARIABLE, attend, read_config,
};

use engines::Engines;
pub use error::LifecycleError;
pub use order::Order;
use sharedroot_bases::{Bases, RootfsError};
use sharedroot_format::{ContainerId, Lease};
use sharedroot_sys::private_dir::private_dir;
use sharedroot_sys::process_start::{Moment, began};
use sharedroot_sys::step::step;
pub use story::tell;

use crate::argv;
use crate::cli::Global;
use crate::config::Config;
use crate::record::{Place, Record, RecordError, Rootfs, state_of_delegates};
use crate::starts::{self, Step};

/// The engine of a new container, as command line, environment and configuration choose it.
///
/// # Errors
/// [`LifecycleError::Choice`].
pub fn choice(global: &Global, config: &Config) -> Result<Choice, LifecycleError> {
    let environment = std::env::var_os(VARIABLE);
    let configured = config.engine.as_deref().map(|engine| (engine, global.config.as_path()));
    Ok(Choice::of(global.engine.as_deref(), environment.as_deref(), configured)?)
}

/// One container, by the state root and ID of the command line.
#[derive(Debug)]
pub struct Container {
    id: ContainerId,
    place: Place,
    bases: Bases,
    engines: Engines,
    record: Option<Record>,
    engine: Engine,
}

impl Container {
    /// Checks the ID and the directories. The container need not exist. An existing container keeps the engine that created it,
    /// whatever engine new containers get.
    ///
    /// # Errors
    /// [`LifecycleError`] naming the ID, the directory, or the engine if its program is gone.
    pub fn named(global: &Global, id: &str, config: &Config) -> Result<Self, LifecycleError> {
        let id: ContainerId = id.parse()?;
        let (run_dir, root) = (&config.pool.run_dir, &global.root);
        private_dir(run_dir)?;
        private_dir(root)?;
        let root = root.canonicalize().map_err(|source| LifecycleError::File {
            step: "resolve",
            path: root.into(),
            source,
        })?;
        let bases = config.bases()?;
        let place = Place::of(run_dir, &root, &id);
        let engines = Engines {
            delegates: state_of_delegates(run_dir, &root),
            root,
            id: id.clone(),
            record_dir: place.dir().to_owned(),
            global: argv::global(global),
        };
        let record = place.read()?;
        let known = record.as_ref().map_or(&Choice::Libcontainer, |record| &record.engine);
        let engine = engines.of_record(known)?;
        Ok(Self { id, place, bases, engines, record, engine })
    }

    /// The engine that the record names now, if that is not `known`: the record may be of another `create` than the record
    /// that was read before this process had the lock.
    ///
    /// # Errors
    /// [`LifecycleError`] naming the record, or the engine if its program is gone.
    fn other_engine(&self, known: &Engine) -> Result<Option<Engine>, LifecycleError> {
        let Some(Record { engine: choice, .. }) = self.place.read()? else { return Ok(None) };
        if matches!((&choice, known), (Choice::Libcontainer, Engine::Embedded(_))) {
            return Ok(None);
        }
        self.engines.of_record(&choice).map(Some)
    }

    /// The container ID.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The engine that created the container; the embedded engine if there is no such container.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine that will create the container.
    ///
    /// # Errors
    /// [`LifecycleError::Record`] if other users could write to the delegates' directory.
    pub fn engine_of(&self, choice: &Choice) -> Result<Engine, LifecycleError> {
        self.engines.of_new(choice)
    }

    /// What `create` recorded.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The rootfs that `create` made, as the record has it now.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn made(&self) -> Result<Option<Rootfs>, RecordError> {
        Ok(self.place.read()?.map(|record| record.rootfs))
    }

    /// Whether the record names a private rootfs. The container may have ended.
    #[must_use]
    pub fn has_private_rootfs(&self) -> bool {
        self.record.as_ref().is_some_and(|r| matches!(r.rootfs, Rootfs::Private { .. }))
    }

    /// The lease of the base that a rootfs uses.
    fn lease(&self, rootfs: &Rootfs) -> Option<Lease> {
        rootfs.lease(self.place.dir(), self.id.as_str())
    }

    fn take_lease(&self, rootfs: &Rootfs) -> Result<(), RootfsError> {
        Ok(self.lease(rootfs).map_or(Ok(()), |lease| self.bases.leases().hold(&lease))?)
    }

    fn change_lease(&self, held: &Rootfs, rootfs: &Rootfs) -> Result<(), RootfsError> {
        let Some((held, lease)) = self.lease(held).zip(self.lease(rootfs)) else { return Ok(()) };
        Ok(self.bases.leases().change(&held, &lease)?)
    }

    fn give_lease_back(&self, rootfs: &Rootfs) -> Result<(), RootfsError> {
        Ok(self.lease(rootfs).map_or(Ok(()), |lease| self.bases.leases().release(&lease))?)
    }

    /// `start` on the embedded engine.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn start(&self, embedded: &Embedded) -> Result<(), LifecycleError> {
        let relay = embedded.listen();
        engines(|| embedded.start())?;
        self.note(Step::Start, began());
        tell(format_args!("started"));
        self.relay(embedded, relay);
        Ok(())
    }

    /// Waits until the container is ready or has ended, if the caller's service manager waits for that.
    fn relay(&self, embedded: &Embedded, relay: Option<Relay>) {
        let Some(relay) = relay else { return };
        let init = self.init(embedded).ok().and_then(|init| u32::try_from(init.as_raw()).ok());
        if let Some(Err(error)) = init.map(|init| relay.run(init)) {
            tracing::warn!("start {}: NOTIFY_SOCKET: {error}", self.id);
        }
    }

    /// Notes how long a step took, for `sharedroot top`.
    fn note(&self, step: Step, began: Moment) {
        starts::note(self.bases.run_dir(), step, began, self.place.tag());
    }

    /// The init process of the container that `create` made.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn init(&self, embedded: &Embedded) -> Result<Pid, EngineError> {
        let pid = embedded.load("run")?.pid().map(|pid| Pid::from_raw(pid.as_raw()));
        let what = "the container has no process".to_owned();
        pid.ok_or_else(|| EngineError::Process { id: self.id.clone(), what })
    }

    /// Waits for a process of the container that is a child of this process, and returns its exit status. Meanwhile the
    /// child gets the signals that are sent to this process.
    ///
    /// # Errors
    /// [`EngineError::Process`].
    pub fn wait(&self, pid: Pid) -> Result<u8, EngineError> {
        attend(pid).map_err(|e| self.wrong(e))
    }

    /// A process that cannot be waited for.
    pub fn wrong(&self, error: std::io::Error) -> EngineError {
        EngineError::Process { id: self.id.clone(), what: format!("wait: {error}") }
    }

    /// Writes `value` into a new file of that name beside the record. The caller removes the file.
    ///
    /// # Errors
    /// [`LifecycleError::File`].
    pub fn scratch(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, LifecycleError> {
        let path = self.place.dir().join(name);
        let text = serde_json::to_vec(value).map_err(std::io::Error::other);
        let written = text.and_then(|text| std::fs::write(&path, text));
        let fail = |source| LifecycleError::File { step: "write", path: path.clone(), source };
        written.map_err(fail)?;
        Ok(path)
    }

    /// The configuration from which the embedded engine created the container.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn spec(&self) -> Result<Spec, BundleError> {
        read_config(&self.place.dir().join("config.json"))
    }
}

/// What the engine does in this process.
fn engines<T>(does: impl FnOnce() -> T) -> T {
    let _step = step("the engine");
    does()
}
