//! The opening of a pool: the pool is activated if it is not active, or made if it is to be on loop files and does not exist.

use crate::backing::{BackingKind, ExistingData};
use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::lock::{Lock, private_dir};
use crate::names::DmIdentity;
use crate::pool::Pool;
use crate::report::Reconcile;
use crate::store::{PoolPhase, PoolRow, Store};

/// Whether the transaction ids of pool and store must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionCheck {
    /// A pool with another transaction id is refused.
    Required,
    /// Any transaction id is accepted, for [`Pool::reconcile`] to report.
    Skipped,
}

/// How the last use of a pool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// The pool was deactivated, or is active.
    Clean,
    /// The pool was not deactivated, so its metadata has been checked.
    Unclean,
}

impl Pool {
    /// Opens the pool. Activates the pool if it is not active. With [`Backing::Loop`] creates the pool if it does not exist.
    ///
    /// One process activates or creates the pool, and the other processes wait. This function also finishes or undoes what
    /// processes that died have left half done. A pool that was not deactivated is checked first.
    ///
    /// # Errors
    /// [`Error::NoPool`] if the pool does not exist and the configuration names devices: create such a pool with
    /// [`Pool::create`]. [`Error::DamagedMetadata`] if the check fails.
    pub fn open(config: &PoolConfig) -> Result<Self, Error> {
        Self::open_as(config, TransactionCheck::Required)
    }

    /// As [`open`](Self::open), but accepts a pool whose transaction id is not the store's, so that
    /// [`reconcile`](Self::reconcile) can report what differs. Does not finish or undo anything.
    ///
    /// # Errors
    /// As [`open`](Self::open), without [`Error::Transaction`].
    pub fn open_to_reconcile(config: &PoolConfig) -> Result<Self, Error> {
        Self::open_as(config, TransactionCheck::Skipped)
    }

    fn open_as(config: &PoolConfig, check: TransactionCheck) -> Result<Self, Error> {
        let (pool, end) = match Self::known_row(config)? {
            Some((pool, PoolPhase::Ready)) if pool.is_active()? => (pool, LastEnd::Clean),
            _ => Self::activated(config, check)?,
        };
        // Otherwise the caller calls `reconcile` next, perhaps as a dry run.
        if check == TransactionCheck::Required {
            pool.finish_or_undo(end)?;
        }
        Ok(pool)
    }

    /// Activates a pool that is [`known`](Self::known), as [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NoPool`] if the pool was destroyed since.
    pub fn begin_use(&self) -> Result<(), Error> {
        let end = self.begin(TransactionCheck::Required)?;
        self.finish_or_undo(end)
    }

    /// Activates a pool that is [`known`](Self::known), as [`open_to_reconcile`](Self::open_to_reconcile) does.
    ///
    /// # Errors
    /// As [`open_to_reconcile`](Self::open_to_reconcile); [`Error::NoPool`] if the pool was destroyed since.
    pub fn begin_to_reconcile(&self) -> Result<(), Error> {
        self.begin(TransactionCheck::Skipped).map(drop)
    }

    fn begin(&self, check: TransactionCheck) -> Result<LastEnd, Error> {
        let PoolConfig { name, state_dir, .. } = &self.config;
        let same = |row: &PoolRow| row.is_complete() && row.uuid == self.identity.uuid;
        let row = || Ok::<_, Error>(self.store.pool(name)?.filter(same));
        if row()?.is_some_and(|row| row.phase == PoolPhase::Ready) && self.is_active()? {
            return Ok(LastEnd::Clean);
        }
        let lock = self.lock()?;
        let gone = || Error::NoPool { name: name.clone(), state_dir: state_dir.clone() };
        self.activate_row(&lock, row()?.ok_or_else(gone)?, check)
    }

    /// Finishes or undoes what processes that died have left half done.
    fn finish_or_undo(&self, end: LastEnd) -> Result<(), Error> {
        let pool = &self.config.name;
        if end == LastEnd::Unclean {
            let report = self.reconcile(Reconcile::Apply)?;
            tracing::warn!(%pool, %report, "the pool was not deactivated; its metadata was checked and is sound");
            return Ok(());
        }
        let report = self.recover_unfinished()?;
        if !report.is_clean() {
            tracing::warn!(%pool, %report, "finished or undid what a process that died had left half done");
        }
        Ok(())
    }

    /// The pool, active or not; `None` if the store does not know the pool. Activates nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn known(config: &PoolConfig) -> Result<Option<Self>, Error> {
        Ok(Self::known_row(config)?.map(|(pool, _)| pool))
    }

    fn known_row(config: &PoolConfig) -> Result<Option<(Self, PoolPhase)>, Error> {
        if !Store::file(&config.state_dir).exists() {
            return Ok(None);
        }
        private_dir(&config.state_dir)?;
        private_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let Some(row) = store.pool(&config.name)?.filter(PoolRow::is_complete) else {
            return Ok(None);
        };
        let phase = row.phase;
        Ok(Some((Self::from_row(config, kernel()?, store, row), phase)))
    }

    /// Whether the pool exists, active or not. Creates and activates nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn exists(config: &PoolConfig) -> Result<bool, Error> {
        if !Store::file(&config.state_dir).exists() {
            return Ok(false);
        }
        private_dir(&config.state_dir)?;
        private_dir(&config.run_dir)?;
        let row = Store::open(&config.state_dir, &config.run_dir)?.pool(&config.name)?;
        Ok(row.is_some_and(|row| row.is_complete()))
    }

    /// Activates the pool or creates it, under the pool's lock.
    fn activated(config: &PoolConfig, check: TransactionCheck) -> Result<(Self, LastEnd), Error> {
        let on_loop = matches!(config.backing, Backing::Loop { .. });
        let no_pool =
            || Error::NoPool { name: config.name.clone(), state_dir: config.state_dir.clone() };
        if !on_loop && !Store::file(&config.state_dir).exists() {
            return Err(no_pool());
        }
        let (kernel, store, lock) = Self::prepared(config)?;
        match store.pool(&config.name)? {
            Some(row) if row.is_complete() => {
                let pool = Self::from_row(config, kernel, store, row.clone());
                let end = pool.activate_row(&lock, row, check)?;
                return Ok((pool, end));
            }
            Some(row) if !on_loop => {
                Self::from_row(config, kernel, store, row.clone()).remove_half_created(&row)?;
                return Err(no_pool());
            }
            None if !on_loop => return Err(no_pool()),
            _ => {}
        }
        let pool = Self::create_locked(config, kernel, store, ExistingData::Refuse)?;
        tracing::warn!(
            pool = %config.name, data = %pool.backing.data.display(),
            "created a pool on loop files, which is slower than a pool on block devices"
        );
        Ok((pool, LastEnd::Clean))
    }

    pub(crate) fn prepared(config: &PoolConfig) -> Result<(Kernel, Store, Lock), Error> {
        let kernel = kernel()?;
        private_dir(&config.state_dir)?;
        private_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let lock = Lock::pool(&config.run_dir, &config.name)?;
        Ok((kernel, store, lock))
    }

    pub(crate) fn from_row(
        config: &PoolConfig,
        kernel: Kernel,
        store: Store,
        row: PoolRow,
    ) -> Self {
        let name = match row.backing.kind {
            BackingKind::Loop | BackingKind::Devices => DmIdentity::pool_device(&config.name),
            BackingKind::Lvm => {
                let node = row.backing.data.file_name().unwrap_or_default();
                node.to_string_lossy().into_owned()
            }
        };
        let identity = DmIdentity { name, uuid: row.uuid };
        Self {
            config: config.clone(),
            identity,
            kernel,
            store,
            backing: row.backing,
            block: row.block,
        }
    }
}

fn kernel() -> Result<Kernel, Error> {
    Kernel::new().map_err(|source| Error::NoKernel { source })
}
