//! A pool: opened, found in the kernel, asked for its status.

use std::path::Path;

use sharedroot_format::PoolName;

use crate::backing::{BackingKind, ExistingData, PoolBacking};
use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::kernel::{Device, Kernel};
use crate::lock::{Lock, private_dir};
use crate::names::DmIdentity;
use crate::report::Reconcile;
use crate::status::{PoolMode, PoolStatus, StatusLine};
use crate::store::{PoolPhase, PoolRow, Store};
use crate::units::Bytes;

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

/// A thin pool. Many threads and many processes can use the same pool at once.
#[derive(Debug)]
pub struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) identity: DmIdentity,
    pub(crate) kernel: Kernel,
    pub(crate) store: Store,
    pub(crate) backing: PoolBacking,
    pub(crate) block: Bytes,
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

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.config.name
    }

    /// The file or device of the data. For a pool of LVM, the pool's node.
    pub fn data_path(&self) -> &Path {
        &self.backing.data
    }

    /// The file or device of the metadata. For a pool of LVM, the pool's node.
    pub fn metadata_path(&self) -> &Path {
        &self.backing.metadata
    }

    /// Whether the pool is one of LVM, which LVM activates and deactivates.
    pub fn is_of_lvm(&self) -> bool {
        self.backing.kind == BackingKind::Lvm
    }

    /// Whether the pool is active and not suspended.
    ///
    /// # Errors
    /// The kernel does not answer, or [`Error::ForeignDevice`].
    pub fn is_active(&self) -> Result<bool, Error> {
        Ok(self.find()?.is_some_and(|device| device.live && !device.suspended))
    }

    /// The pool's status in the kernel and the store. Changes nothing. The figures may be one transaction old, because the
    /// status call does not commit the metadata.
    ///
    /// # Errors
    /// The pool is not active, or its status line cannot be parsed.
    pub fn status(&self) -> Result<PoolStatus, Error> {
        let mut status = PoolStatus {
            name: self.config.name.clone(),
            mode: PoolMode::Fail,
            needs_check: true,
            data: None,
            metadata: None,
            block: self.block,
            metadata_block: PoolStatus::METADATA_BLOCK,
            transaction_id: None,
            volumes: self.store.volumes(&self.config.name)?.len() as u64,
            data_path: self.backing.data.clone(),
            metadata_path: self.backing.metadata.clone(),
            on_loop: self.backing.kind == BackingKind::Loop,
        };
        if let StatusLine::Working(working) = self.status_line()? {
            status.mode = working.mode;
            status.needs_check = working.needs_check;
            status.data = Some(working.data);
            status.metadata = Some(working.metadata);
            status.transaction_id = Some(working.transaction_id);
        }
        Ok(status)
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        Lock::pool(&self.config.run_dir, &self.config.name)
    }

    /// The pool's device; `None` if the pool is not active.
    ///
    /// # Errors
    /// [`Error::ForeignDevice`] if the device belongs to another pool.
    pub(crate) fn find(&self) -> Result<Option<Device>, Error> {
        let name = &self.config.name;
        let found = self
            .kernel
            .find(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        found.map(|device| self.verify_uuid(device)).transpose()
    }

    pub(crate) fn status_line(&self) -> Result<StatusLine, Error> {
        self.running().map(|(_, line)| line)
    }

    /// The pool's device and its status line, from one call of the kernel.
    pub(crate) fn running(&self) -> Result<(Device, StatusLine), Error> {
        let name = &self.config.name;
        let (device, line) = self
            .kernel
            .status(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        let device = self.verify_uuid(device)?;
        let line =
            line.parse().map_err(|source| Error::StatusLine { name: name.clone(), source })?;
        Ok((device, line))
    }

    fn verify_uuid(&self, device: Device) -> Result<Device, Error> {
        match device.uuid == self.identity.uuid {
            true => Ok(device),
            false => Err(Error::ForeignDevice {
                name: self.config.name.clone(),
                device: self.identity.name.clone(),
                uuid: device.uuid,
            }),
        }
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
