//! A pool: found, measured and taken down.

use std::path::Path;

use sharedroot_format::PoolName;

use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::{Device, Kernel};
use crate::lock::{Lock, own_dir};
use crate::media::{Kind, Media};
use crate::names::DmLabel;
use crate::pool_row::{PoolPhase, PoolRow};
use crate::status::{PoolMode, PoolStatus, StatusLine};
use crate::store::Store;
use crate::units::Bytes;

/// A thin pool. Usable from many threads and many processes at once.
#[derive(Debug)]
pub struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) label: DmLabel,
    pub(crate) kernel: Kernel,
    pub(crate) store: Store,
    pub(crate) media: Media,
    pub(crate) block: Bytes,
}

impl Pool {
    /// Finds the pool and activates it if the kernel has it not. With [`Backing::Loop`] it is made on first use.
    ///
    /// One process activates or makes, the others wait for it. What processes that died have left half-done in the pool is
    /// finished or undone on the way; a pool that was not deactivated is checked first.
    ///
    /// # Errors
    /// [`Error::NoPool`] if there is none and the configuration names devices: those take [`Pool::create`].
    /// [`Error::Unsound`] if the check fails.
    pub fn open(config: &PoolConfig) -> Result<Self, Error> {
        Self::open_as(config, false)
    }

    /// [`open`](Self::open) for a pool whose transaction may not be the store's, so that
    /// [`reconcile`](Self::reconcile) can say what it holds. Finishes and undoes nothing on the way.
    ///
    /// # Errors
    /// As [`open`](Self::open), without [`Error::Transaction`].
    pub fn open_to_reconcile(config: &PoolConfig) -> Result<Self, Error> {
        Self::open_as(config, true)
    }

    fn open_as(config: &PoolConfig, any_transaction: bool) -> Result<Self, Error> {
        let (pool, unclean) = match Self::known_row(config)? {
            Some((pool, PoolPhase::Ready)) if pool.is_active()? => (pool, false),
            _ => Self::activated(config, any_transaction)?,
        };
        // Otherwise the caller's reconcile does that, or is a dry run.
        if !any_transaction {
            pool.finish_or_undo(unclean)?;
        }
        Ok(pool)
    }

    /// Activates a pool that was only [`known`](Self::known), as [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NoPool`] if the pool was destroyed since.
    pub fn begin_use(&self) -> Result<(), Error> {
        let unclean = self.begin(false)?;
        self.finish_or_undo(unclean)
    }

    /// Activates a pool that was only [`known`](Self::known), as [`open_to_reconcile`](Self::open_to_reconcile) does.
    ///
    /// # Errors
    /// As [`open_to_reconcile`](Self::open_to_reconcile); [`Error::NoPool`] if the pool was destroyed since.
    pub fn begin_to_reconcile(&self) -> Result<(), Error> {
        self.begin(true).map(drop)
    }

    /// Says whether the pool's last end was unclean.
    fn begin(&self, any_transaction: bool) -> Result<bool, Error> {
        let PoolConfig { name, state_dir, .. } = &self.config;
        let same = |row: &PoolRow| row.is_made() && row.uuid == self.label.uuid;
        let row = || Ok::<_, Error>(self.store.pool(name)?.filter(same));
        if row()?.is_some_and(|row| row.phase == PoolPhase::Ready) && self.is_active()? {
            return Ok(false);
        }
        let lock = self.lock()?;
        let gone = || Error::NoPool { name: name.clone(), state_dir: state_dir.clone() };
        self.activate_row(&lock, row()?.ok_or_else(gone)?, any_transaction)
    }

    /// Finishes or undoes what processes that died have left half-done.
    fn finish_or_undo(&self, unclean: bool) -> Result<(), Error> {
        let pool = &self.config.name;
        if unclean {
            let report = self.reconcile(false)?;
            tracing::warn!(%pool, %report, "the pool was not deactivated; its metadata is sound");
            return Ok(());
        }
        let report = self.recover_unfinished()?;
        if !report.is_clean() {
            tracing::warn!(%pool, %report, "the last end was unclean");
        }
        Ok(())
    }

    /// The pool as the store knows it, active or not; none if there is none. Activates nothing.
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
        own_dir(&config.state_dir)?;
        own_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let Some(row) = store.pool(&config.name)?.filter(PoolRow::is_made) else {
            return Ok(None);
        };
        let phase = row.phase;
        Ok(Some((Self::of(config, kernel()?, store, row), phase)))
    }

    /// Whether the pool has been made, active or not. Makes and activates nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn exists(config: &PoolConfig) -> Result<bool, Error> {
        if !Store::file(&config.state_dir).exists() {
            return Ok(false);
        }
        own_dir(&config.state_dir)?;
        own_dir(&config.run_dir)?;
        let row = Store::open(&config.state_dir, &config.run_dir)?.pool(&config.name)?;
        Ok(row.is_some_and(|row| row.is_made()))
    }

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.config.name
    }

    /// The file or device that holds the data; of a pool of LVM's its node.
    pub fn data_path(&self) -> &Path {
        &self.media.data
    }

    /// The file or device that holds the metadata; of a pool of LVM's its node.
    pub fn metadata_path(&self) -> &Path {
        &self.media.metadata
    }

    /// Whether the pool is one of LVM's, which LVM activates and deactivates.
    pub fn is_of_lvm(&self) -> bool {
        self.media.kind == Kind::Lvm
    }

    /// Whether the kernel has the pool.
    ///
    /// # Errors
    /// The kernel cannot be asked, or [`Error::ForeignDevice`].
    pub fn is_active(&self) -> Result<bool, Error> {
        Ok(self.find()?.is_some_and(|device| device.live && !device.suspended))
    }

    /// The pool as the kernel and the store see it. Reads only; the figures may be one transaction old.
    ///
    /// # Errors
    /// The pool is not active, or its status line is not understood.
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
            data_path: self.media.data.clone(),
            metadata_path: self.media.metadata.clone(),
            on_loop: self.media.kind == Kind::Loop,
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

    /// Deactivates every volume and the pool and detaches its loop files. The pool and its volumes stay; [`Pool::open`]
    /// brings them back. A pool of LVM's stays active.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses.
    pub fn shut_down(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.stop()
    }

    /// Shuts the pool down and forgets it with all its volumes: loop files are removed, of devices the superblock is cleared,
    /// in a pool of LVM's our volumes are deleted.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses. Then the pool is still there.
    pub fn destroy(self) -> Result<(), Error> {
        let name = &self.config.name;
        if self.media.kind == Kind::Lvm {
            return self.release();
        }
        let _lock = self.lock()?;
        self.stop()?;
        let Some(row) = self.store.pool(name)? else { return Ok(()) };
        // From here on the pool is as one whose creation was cut short: the next `open` or `create` finishes its end.
        let row = PoolRow { phase: PoolPhase::Creating, ..row };
        self.store.write(|w| w.drop_pool(name).and_then(|()| w.put_pool(name, &row)))?;
        step("end intended");
        self.unmake(&row)
    }

    fn stop(&self) -> Result<(), Error> {
        let name = &self.config.name;
        for row in self.store.volumes(name)? {
            // Its maker or deleter lives.
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, name, &row.name)? else {
                return Err(Error::Making { volume: row.name, pool: name.clone() });
            };
            self.deactivate_row(&row)?;
        }
        let Some(device) = self.find()?.filter(|_| self.media.kind != Kind::Lvm) else {
            return self.media.disconnect();
        };
        // A device whose maker died has no table, and no status.
        let sound =
            device.live && matches!(self.status_line()?, StatusLine::Working(w) if !w.needs_check);
        self.kernel
            .remove(&self.label.name)
            .map_err(|source| Error::DeactivatePool { name: name.clone(), source })?;
        step("pool deactivated");
        self.media.disconnect()?;
        step("loop devices detached");
        if sound && let Some(row) = self.store.pool(name)? {
            self.store.write(|w| w.put_pool(name, &PoolRow { clean: true, ..row }))?;
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        Lock::pool(&self.config.run_dir, &self.config.name)
    }

    /// The pool's device, if the kernel has it and it is this pool.
    pub(crate) fn find(&self) -> Result<Option<Device>, Error> {
        let name = &self.config.name;
        let found = self
            .kernel
            .find(&self.label.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        found.map(|device| self.own(device)).transpose()
    }

    pub(crate) fn status_line(&self) -> Result<StatusLine, Error> {
        self.running().map(|(_, line)| line)
    }

    /// The pool's device and its status, from one call of the kernel.
    pub(crate) fn running(&self) -> Result<(Device, StatusLine), Error> {
        let name = &self.config.name;
        let (device, line) = self
            .kernel
            .status(&self.label.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        let device = self.own(device)?;
        let line =
            line.parse().map_err(|source| Error::StatusLine { name: name.clone(), source })?;
        Ok((device, line))
    }

    fn own(&self, device: Device) -> Result<Device, Error> {
        match device.uuid == self.label.uuid {
            true => Ok(device),
            false => Err(Error::ForeignDevice {
                name: self.config.name.clone(),
                device: self.label.name.clone(),
                uuid: device.uuid,
            }),
        }
    }

    /// Under the pool's lock: activates the pool, or makes it. Also says whether its last end was unclean.
    fn activated(config: &PoolConfig, any_transaction: bool) -> Result<(Self, bool), Error> {
        let on_loop = matches!(config.backing, Backing::Loop { .. });
        let no_pool =
            || Error::NoPool { name: config.name.clone(), state_dir: config.state_dir.clone() };
        if !on_loop && !Store::file(&config.state_dir).exists() {
            return Err(no_pool());
        }
        let (kernel, store, lock) = Self::prepared(config)?;
        match store.pool(&config.name)? {
            Some(row) if row.is_made() => {
                let pool = Self::of(config, kernel, store, row.clone());
                let unclean = pool.activate_row(&lock, row, any_transaction)?;
                return Ok((pool, unclean));
            }
            Some(row) if !on_loop => {
                Self::of(config, kernel, store, row.clone()).unmake(&row)?;
                return Err(no_pool());
            }
            None if !on_loop => return Err(no_pool()),
            _ => {}
        }
        let pool = Self::make_pool(config, kernel, store, false)?;
        tracing::warn!(
            pool = %config.name, data = %pool.media.data.display(),
            "made a pool on loop files, which is slower than one on block devices"
        );
        Ok((pool, false))
    }

    pub(crate) fn prepared(config: &PoolConfig) -> Result<(Kernel, Store, Lock), Error> {
        let kernel = kernel()?;
        own_dir(&config.state_dir)?;
        own_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let lock = Lock::pool(&config.run_dir, &config.name)?;
        Ok((kernel, store, lock))
    }

    pub(crate) fn of(config: &PoolConfig, kernel: Kernel, store: Store, row: PoolRow) -> Self {
        let name = match row.media.kind {
            Kind::Loop | Kind::Devices => DmLabel::pool_device(&config.name),
            Kind::Lvm => {
                let node = row.media.data.file_name().unwrap_or_default();
                node.to_string_lossy().into_owned()
            }
        };
        let label = DmLabel { name, uuid: row.uuid };
        Self { config: config.clone(), label, kernel, store, media: row.media, block: row.block }
    }
}

fn kernel() -> Result<Kernel, Error> {
    Kernel::new().map_err(|source| Error::NoKernel { source })
}
