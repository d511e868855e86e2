//! The bases of one configuration, as one command uses them: the places of their files, and their pool.
//!
//! A container whose base is mounted needs no pool. So [`Bases::pool`] opens the pool at the first call, and returns this pool
//! at each later call. No function of this crate takes a pool as an argument, which could be a different pool. That there is no
//! pool yet is not remembered: another process may create the pool at any time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use sharedroot_dm::{Error, Pool};
use sharedroot_format::BaseKey;
use sharedroot_sys::step::step;

use crate::catalog_file::CatalogFile;
use crate::config::Config;
use crate::error::RootfsError;
use crate::leases::Leases;

/// The bases of one configuration. Two threads that ask for the pool at the same moment may both open it; one of the two pools
/// is closed again.
#[derive(Debug)]
pub struct Bases {
    config: Config,
    pool: OnceLock<Found>,
}

/// The pool as the store knows it, and whether this process has activated it.
#[derive(Debug)]
struct Found {
    pool: Pool,
    in_use: AtomicBool,
}

impl Bases {
    /// The bases of `config`. Opens nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, pool: OnceLock::new() }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The run directory: its files end with the host's uptime.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.config.pool.run_dir
    }

    /// The state directory: its files outlive the host's uptime.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.config.pool.state_dir
    }

    /// The file with the lock of the process that serves the snapshotter's snapshots, on its first byte.
    #[must_use]
    pub fn snapshotter_lock(&self) -> PathBuf {
        self.run_dir().join("snapshotter.lock")
    }

    /// The file with a lock of the same process, for a process that has another run directory and the same table.
    #[must_use]
    pub fn snapshot_table_lock(&self) -> PathBuf {
        self.state_dir().join("snapshots.lock")
    }

    /// The leases: which container uses which base.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::below(self.run_dir())
    }

    /// The catalog: what is known of bases beyond their volumes.
    #[must_use]
    pub fn catalog(&self) -> CatalogFile<'_> {
        CatalogFile::of(self.state_dir(), self.run_dir())
    }

    /// The mount point of the base of `key`.
    #[must_use]
    pub fn base_mount(&self, key: &BaseKey) -> PathBuf {
        self.run_dir().join("base").join(key.to_string())
    }

    /// The directory in which prepared volumes are placed, in a container's own mount namespace. It is not below the run
    /// directory, which only root may enter: root of a user namespace must reach the volumes.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        let mut name = self.run_dir().to_owned().into_os_string();
        name.push("-volumes");
        name.into()
    }

    /// The pool; activates a pool that is not active. A pool on loop files is created at its first use.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn pool(&self) -> Result<&Pool, RootfsError> {
        if let Some(pool) = self.pool_if_made()? {
            return Ok(pool);
        }
        let _step = step("make the pool");
        let found = self.remember(Pool::open(&self.config.pool)?);
        found.in_use.store(true, Ordering::Relaxed);
        Ok(&found.pool)
    }

    /// The pool if it exists; activates a pool that is not active.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn pool_if_made(&self) -> Result<Option<&Pool>, RootfsError> {
        self.in_use(Pool::begin_use)
    }

    /// The pool if it exists, for `Pool::reconcile`. Activates a pool that is not active, but finishes or undoes none of its
    /// changes. Call this before every other function that opens the pool: no other function of this crate may see a pool that
    /// is not reconciled.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn pool_to_reconcile(&self) -> Result<Option<&Pool>, RootfsError> {
        self.in_use(Pool::begin_to_reconcile)
    }

    fn in_use(
        &self,
        begin: impl FnOnce(&Pool) -> Result<(), Error>,
    ) -> Result<Option<&Pool>, RootfsError> {
        let Some(found) = self.find()? else { return Ok(None) };
        if !found.in_use.load(Ordering::Relaxed) {
            let _step = step("activate the pool");
            begin(&found.pool)?;
            found.in_use.store(true, Ordering::Relaxed);
        }
        Ok(Some(&found.pool))
    }

    /// The pool; activates a pool that is not active. Creates no pool.
    ///
    /// # Errors
    /// [`RootfsError::Dm`], also if there is no pool.
    pub fn active_pool(&self) -> Result<&Pool, RootfsError> {
        self.pool_if_made()?.ok_or_else(|| self.no_pool())
    }

    /// The pool, active or not. Creates and activates nothing.
    ///
    /// # Errors
    /// [`RootfsError::Dm`], also if there is no pool.
    pub fn known_pool(&self) -> Result<&Pool, RootfsError> {
        self.known_pool_if_made()?.ok_or_else(|| self.no_pool())
    }

    /// The pool if it exists, active or not. Creates and activates nothing.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn known_pool_if_made(&self) -> Result<Option<&Pool>, RootfsError> {
        Ok(self.find()?.map(|found| &found.pool))
    }

    /// Takes the pool out of this value, to deactivate or destroy the pool.
    pub(crate) fn into_known_pool(self) -> Result<Pool, RootfsError> {
        self.known_pool()?;
        let no_pool = self.no_pool();
        self.pool.into_inner().map(|found| found.pool).ok_or(no_pool)
    }

    fn find(&self) -> Result<Option<&Found>, RootfsError> {
        if let Some(found) = self.pool.get() {
            return Ok(Some(found));
        }
        let _step = step("open the pool");
        Ok(Pool::known(&self.config.pool)?.map(|pool| self.remember(pool)))
    }

    fn remember(&self, pool: Pool) -> &Found {
        self.pool.get_or_init(|| Found { pool, in_use: AtomicBool::new(false) })
    }

    fn no_pool(&self) -> RootfsError {
        let (name, state_dir) = (self.config.pool.name.clone(), self.state_dir().to_owned());
        Error::NoPool { name, state_dir }.into()
    }
}
