//! The life of a container, verb by verb.

use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};

use crate::bundle::{Bundle, BundleError, ContainerId, read_config};
use crate::config::{Config, ConfigError};
use crate::engine::{
    CreateOptions, Engine, EngineError, Labels, SealError, SpecError, Tenant, Terminal, normalise,
    wait,
};
use crate::image;
use crate::label::LabelError;
use crate::record::{Lock, Place, Record, RecordError, Rootfs, private_dir};
use crate::rootfs::{
    AnnotationError, Facts, Mode, Plan, Rooted, RootfsError, Storage, make_start_directory,
    mount_points, plan, prepare_private, prepare_shared, release_private, volume_name,
};

/// A verb that failed; the message says on what and why.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The bundle, its configuration or the ID.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// `/etc/sharedroot/config.toml`
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A field that cannot be honoured.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A label that cannot be honoured.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// An annotation that cannot be honoured.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// State directory and record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The runtime's own executable.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A volume's name in a record.
    #[error("volume name in the record of {id}: {source}")]
    Name {
        /// The container ID.
        id: String,
        /// What is wrong with it.
        source: sharedroot_dm::NameError,
    },
    /// A file of the caller.
    #[error("{step} {path}: {source}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// An argument that has no meaning.
    #[error("{flag}: {value:?}: {wanted}")]
    Argument {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        wanted: &'static str,
    },
}

/// One container, by the state root and ID of the command line.
#[derive(Debug)]
pub struct Container {
    root: PathBuf,
    id: ContainerId,
    engine: Engine,
    place: Place,
    storage: Storage,
}

impl Container {
    /// Checks the ID and the directories; the container need not exist.
    ///
    /// # Errors
    /// [`LifecycleError`] naming the ID or the directory.
    pub fn named(root: &Path, id: &str, config: &Config) -> Result<Self, LifecycleError> {
        let id = ContainerId::parse(id)?;
        private_dir(&config.pool.run_dir)?;
        private_dir(root)?;
        let root = root.canonicalize().map_err(|source| LifecycleError::File {
            step: "resolve",
            path: root.into(),
            source,
        })?;
        let storage = Storage::of(config)?;
        let place = Place::of(&config.pool.run_dir, &root, &id);
        let engine = Engine::new(&root, &id, place.dir());
        Ok(Self { root, id, engine, place, storage })
    }

    /// The engine's view of it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What `create` recorded.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn record(&self) -> Result<Option<Record>, RecordError> {
        self.place.read()
    }

    /// `create`: plan, record, prepare, hand over. On any error everything is as before.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn create(&self, bundle: &Path, options: &CreateOptions) -> Result<(), LifecycleError> {
        let mut bundle = Bundle::load(bundle)?;
        let mode = Mode::of(|key| annotation(&bundle.spec, key), bundle.readonly)?;
        let systemd = options.systemd_cgroup;
        let labels = normalise(&mut bundle.spec, &bundle.path, self.id.as_str(), systemd)?;
        if wants_terminal(&bundle.spec) && options.console_socket.is_none() {
            return Err(EngineError::Console.into());
        }
        if self.engine.exists() {
            return Err(RecordError::Exists { id: self.id.clone() }.into());
        }
        let _lock = self.claim()?;
        let made = self.make(&bundle, mode, &labels, options);
        if made.is_err() {
            self.undo();
        }
        made
    }

    /// Claims the ID, also over the record of a `create` or `delete` that died.
    fn claim(&self) -> Result<Lock, LifecycleError> {
        match self.place.claim() {
            Err(RecordError::Exists { .. }) if self.place.is_abandoned()? => {
                self.release()?;
                Ok(self.place.claim()?)
            }
            claimed => Ok(claimed?),
        }
    }

    /// The acts of `create`, after the ID is claimed.
    fn make(
        &self,
        bundle: &Bundle,
        mode: Mode,
        labels: &Labels,
        options: &CreateOptions,
    ) -> Result<(), LifecycleError> {
        let plan = plan(Facts {
            readonly: bundle.readonly,
            mode,
            mapped_ids: has_id_mappings(&bundle.spec),
            image: image::identify(&bundle.root, self.id.as_str()),
        });
        let rootfs = match self.prepare(plan, bundle, labels) {
            Err(LifecycleError::Rootfs(error)) if error.is_about_size() => {
                as_given(&self.id, error.to_string())
            }
            prepared => prepared?,
        };
        if !matches!(rootfs, Rootfs::Shared { .. }) {
            make_start_directory(&bundle.root, &bundle.spec)?;
        }
        // The other two were recorded before they were made.
        if matches!(rootfs, Rootfs::AsGiven { .. }) {
            self.write_record(bundle, rootfs)?;
        }
        let path = self.place.dir().join("config.json");
        let text = serde_json::to_vec(&bundle.spec)
            .map_err(|source| BundleError::Parse { path: path.clone(), source })?;
        std::fs::write(&path, text).map_err(|source| LifecycleError::File {
            step: "write",
            path,
            source,
        })?;
        Ok(self.engine.create(&bundle.spec, labels, options)?)
    }

    /// Makes the planned root. A record of the intent is written before anything is made.
    fn prepare(
        &self,
        plan: Plan,
        bundle: &Bundle,
        labels: &Labels,
    ) -> Result<Rootfs, LifecycleError> {
        Ok(match plan {
            Plan::Shared(image) => {
                let needed = mount_points(&bundle.spec);
                let base = image.key.to_string();
                // The intent: nobody takes a base away that a record names.
                self.write_record(bundle, Rootfs::Shared { base: base.clone() })?;
                match prepare_shared(&self.storage, &image, &bundle.root, &needed)? {
                    Rooted::Shared => Rootfs::Shared { base },
                    Rooted::MissingMountPoints(paths) => as_given(
                        &self.id,
                        format!(
                            "the image has no {}, which the container mounts on or starts in",
                            paths[0].display()
                        ),
                    ),
                }
            }
            Plan::Private(image) => {
                let volume = volume_name(&self.root, self.id.as_str())?;
                let rootfs = Rootfs::Private {
                    base: image.key.to_string(),
                    volume: volume.to_string(),
                    mount_point: bundle.root.clone(),
                };
                // The intent: from here on `delete` undoes what this process began.
                self.write_record(bundle, rootfs.clone())?;
                let label = labels.mount.as_ref();
                prepare_private(&self.storage, &image, &volume, &bundle.root, label)?;
                rootfs
            }
            Plan::AsGiven { why } => as_given(&self.id, why),
        })
    }

    fn write_record(&self, bundle: &Bundle, rootfs: Rootfs) -> Result<(), RecordError> {
        self.place.write(&Record {
            id: self.id.to_string(),
            bundle: bundle.path.clone(),
            root_path: bundle.root.clone(),
            rootfs,
        })
    }

    /// Takes back what a failed `create` made; the first error is the one to report.
    fn undo(&self) {
        if let Err(error) = self.release() {
            tracing::warn!("undo create {}: {error}", self.id);
        }
    }

    /// Unmakes the rootfs and the record. What is gone already is no error.
    fn release(&self) -> Result<(), LifecycleError> {
        if let Some(Record { rootfs: Rootfs::Private { volume, mount_point, .. }, id, .. }) =
            self.place.read()?
        {
            let volume = volume.parse().map_err(|source| LifecycleError::Name { id, source })?;
            release_private(&self.storage, &volume, &mount_point)?;
        }
        Ok(self.place.remove()?)
    }

    /// `delete`: unmakes what `create` made, and nothing else. With `force` it succeeds also for
    /// a container that is gone.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn delete(&self, force: bool) -> Result<(), LifecycleError> {
        let _lock = self.place.wait()?;
        match self.engine.delete(force) {
            // A `create` or `delete` that was killed half-way leaves a record without a container.
            Err(EngineError::NotFound { .. }) if force || self.place.read()?.is_some() => {}
            deleted => deleted?,
        }
        self.release()
    }

    /// `run`: create, start, wait, delete. Returns the exit status.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn run(
        &self,
        bundle: &Path,
        options: &CreateOptions,
        keep: bool,
    ) -> Result<u8, LifecycleError> {
        self.create(bundle, options)?;
        let started = self.engine.start();
        if started.is_ok() && options.detach {
            return Ok(0);
        }
        let status = started.and_then(|()| self.wait());
        if !keep && let Err(error) = self.delete(true) {
            // What the container said comes first.
            tracing::warn!("{error}");
        }
        Ok(status?)
    }

    fn wait(&self) -> Result<u8, EngineError> {
        let wrong = |what: String| EngineError::Process { id: self.id.clone(), what };
        let pid =
            self.engine.load("run")?.pid().ok_or_else(|| wrong("it has no process".into()))?;
        wait(Pid::from_raw(pid.as_raw())).map_err(|e| wrong(format!("wait: {e}")))
    }

    /// The configuration that the container was created from.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`BundleError`].
    pub fn spec(&self) -> Result<Spec, LifecycleError> {
        if !self.engine.exists() {
            return Err(EngineError::NotFound { id: self.id.clone() }.into());
        }
        Ok(read_config(&self.place.dir().join("config.json"))?)
    }

    /// `exec`. Returns the exit status, 0 when detached.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn exec(
        &self,
        spec: &Spec,
        process: Process,
        terminal: &Terminal,
    ) -> Result<u8, LifecycleError> {
        let tenant = Tenant::new(spec, process)?;
        Ok(self.engine.exec(&tenant, terminal)?)
    }
}

fn as_given(id: &ContainerId, why: String) -> Rootfs {
    tracing::info!("container {id} runs on the rootfs as given: {why}");
    Rootfs::AsGiven { why }
}

fn annotation<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(Process::terminal).unwrap_or(false)
}

fn has_id_mappings(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    linux.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())
}
