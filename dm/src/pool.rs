//! A pool: found, made, activated, measured and taken down.

use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::kernel::{Access, Device, Kernel, KernelError, Table};
use crate::lock::{Lock, own_dir};
use crate::media::{Connected, Media};
use crate::names::{DmLabel, PoolName};
use crate::status::{PoolMode, PoolStatus, StatusLine};
use crate::store::{Phase, PoolRow, Store};
use crate::units::{Bytes, Percent};

/// An active thin pool. Usable from many threads and many processes at once.
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
    /// finished or undone on the way.
    ///
    /// # Errors
    /// [`Error::NoPool`] if there is none and the configuration names devices: those take [`Pool::create`].
    pub fn open(config: &PoolConfig) -> Result<Self, Error> {
        let pool = match Self::opened(config)? {
            Some(pool) if pool.find()?.is_some_and(|device| device.live && !device.suspended) => {
                pool
            }
            _ => Self::activated(config)?,
        };
        let report = pool.recover_unfinished()?;
        if !report.is_clean() {
            tracing::warn!(pool = %config.name, %report, "the last end was unclean");
        }
        Ok(pool)
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// [`Error::PoolExists`]; [`Error::Signature`] or [`Error::InUse`] for a device that carries something or is in use.
    /// A failed creation leaves nothing behind.
    pub fn create(config: &PoolConfig) -> Result<Self, Error> {
        let (kernel, store, _lock) = Self::prepared(config)?;
        match store.pool(&config.name)? {
            Some(row) if row.phase == Phase::Ready => Err(Error::PoolExists {
                name: config.name.clone(),
                state_dir: config.state_dir.clone(),
            }),
            Some(row) => {
                unmake(config, &kernel, &store, &row.media)?;
                make(config, kernel, store)
            }
            None => make(config, kernel, store),
        }
    }

    /// Whether the pool has been made, active or not. Makes and activates nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn exists(config: &PoolConfig) -> Result<bool, Error> {
        if !Store::file(&config.state_dir).exists() {
            return Ok(false);
        }
        own_dir(&config.run_dir)?;
        let row = Store::open(&config.state_dir, &config.run_dir)?.pool(&config.name)?;
        Ok(row.is_some_and(|row| row.phase == Phase::Ready))
    }

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.config.name
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
            on_loop: self.media.on_loop,
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
    /// brings them back.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses.
    pub fn shut_down(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.stop()
    }

    /// Shuts the pool down and forgets it with all its volumes: loop files are removed, of devices the superblock is cleared.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses. Then the pool is still there.
    pub fn destroy(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.stop()?;
        let name = &self.config.name;
        // From here on the pool is as one whose creation was cut short: the next `open` or `create` finishes its end.
        let row = PoolRow {
            phase: Phase::Creating,
            media: self.media.clone(),
            block: self.block,
            transaction_id: 0,
        };
        self.store.write(|w| w.drop_pool(name).and_then(|()| w.put_pool(name, &row)))?;
        unmake(&self.config, &self.kernel, &self.store, &self.media)
    }

    fn stop(&self) -> Result<(), Error> {
        for volume in self.store.volumes(&self.config.name)? {
            self.deactivate_row(&volume.name)?;
        }
        self.kernel
            .remove(&self.label.name)
            .map_err(|source| Error::DeactivatePool { name: self.config.name.clone(), source })?;
        self.media.disconnect()
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        Lock::pool(&self.config.run_dir, &self.config.name)
    }

    pub(crate) fn find(&self) -> Result<Option<Device>, Error> {
        find(&self.kernel, &self.config.name, &self.label)
    }

    pub(crate) fn status_line(&self) -> Result<StatusLine, Error> {
        let name = &self.config.name;
        let line = self
            .kernel
            .status(&self.label.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        line.parse().map_err(|source| Error::StatusLine { name: name.clone(), source })
    }

    /// The pool if the store knows it; it may be inactive.
    fn opened(config: &PoolConfig) -> Result<Option<Self>, Error> {
        if !Store::file(&config.state_dir).exists() {
            return Ok(None);
        }
        own_dir(&config.state_dir)?;
        own_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let Some(row) = store.pool(&config.name)?.filter(|row| row.phase == Phase::Ready) else {
            return Ok(None);
        };
        Ok(Some(Self::of(config, kernel()?, store, row)))
    }

    /// Under the pool's lock: activates the pool, or makes it.
    fn activated(config: &PoolConfig) -> Result<Self, Error> {
        let on_loop = matches!(config.backing, Backing::Loop { .. });
        let no_pool =
            || Error::NoPool { name: config.name.clone(), state_dir: config.state_dir.clone() };
        if !on_loop && !Store::file(&config.state_dir).exists() {
            return Err(no_pool());
        }
        let (kernel, store, _lock) = Self::prepared(config)?;
        match store.pool(&config.name)? {
            Some(row) if row.phase == Phase::Ready => {
                let pool = Self::of(config, kernel, store, row);
                pool.activate_pool(true)?;
                return Ok(pool);
            }
            Some(row) => unmake(config, &kernel, &store, &row.media)?,
            None => {}
        }
        if !on_loop {
            return Err(no_pool());
        }
        let pool = make(config, kernel, store)?;
        tracing::warn!(
            pool = %config.name, data = %pool.media.data.display(),
            "made a pool on loop files, which is slow; for a real device run `sharedroot pool create --data-dev DEVICE --metadata-dev DEVICE`"
        );
        Ok(pool)
    }

    fn prepared(config: &PoolConfig) -> Result<(Kernel, Store, Lock), Error> {
        let kernel = kernel()?;
        own_dir(&config.state_dir)?;
        own_dir(&config.run_dir)?;
        let store = Store::open(&config.state_dir, &config.run_dir)?;
        let lock = Lock::pool(&config.run_dir, &config.name)?;
        Ok((kernel, store, lock))
    }

    fn of(config: &PoolConfig, kernel: Kernel, store: Store, row: PoolRow) -> Self {
        let label = DmLabel::pool(&config.name);
        Self { config: config.clone(), label, kernel, store, media: row.media, block: row.block }
    }

    /// Starts the pool's device unless it runs. `formatted`: the metadata must be there already.
    fn activate_pool(&self, formatted: bool) -> Result<(), Error> {
        let failed = |source| Error::ActivatePool { name: self.config.name.clone(), source };
        if let Some(device) = self.find()? {
            if device.live {
                return if device.suspended {
                    self.kernel.resume(&self.label.name).map_err(failed)
                } else {
                    Ok(())
                };
            }
            // Its maker died between creation and table.
            self.kernel.remove(&self.label.name).map_err(failed)?;
        }
        let connected = self.media.connect(formatted)?;
        let table = table(&connected, &self.media, self.block, self.config.fill_limit)?;
        self.kernel.create(&self.label, &table, Access::ReadWrite).map_err(failed)?;
        connected.keep();
        Ok(())
    }
}

/// The pool's table: `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Setting up a fresh pool device".
fn table(
    connected: &Connected,
    media: &Media,
    block: Bytes,
    fill_limit: Percent,
) -> Result<Table, Error> {
    let size = connected.data_size.round_down(block);
    if size.0 == 0 {
        return Err(Error::Small { path: media.data.clone(), size: connected.data_size });
    }
    let blocks = size.0 / block.0;
    let low_water = blocks - fill_limit.of(blocks);
    // Blocks are whole files' parts that mke2fs writes; zeroing them first would double the writes. A volume shows an
    // earlier volume's blocks only where it is written in part, and only root reads a volume as a device.
    // Discards of a volume are passed down to the loop file, which is the default. (Deleting a thin id frees its blocks in the
    // pool, but discards nothing below it.)
    let params = format!(
        "{} {} {} {low_water} 2 skip_block_zeroing error_if_no_space",
        connected.metadata,
        connected.data,
        block.sectors()
    );
    Ok(Table { sectors: size.sectors(), target: "thin-pool", params })
}

fn kernel() -> Result<Kernel, Error> {
    Kernel::new().map_err(|source| Error::NoKernel { source })
}

fn find(kernel: &Kernel, name: &PoolName, label: &DmLabel) -> Result<Option<Device>, Error> {
    kernel
        .find(&label.name)
        .map_err(|source: KernelError| Error::PoolStatus { name: name.clone(), source })
}

/// Makes a pool that the store does not know. Intent, act, result: a row in phase creating stands in the store from before the
/// first file until the pool runs.
fn make(config: &PoolConfig, kernel: Kernel, store: Store) -> Result<Pool, Error> {
    let (name, block) = (&config.name, config.block);
    let (least, most) = (Bytes::kib(64), Bytes::gib(1));
    if block < least || block > most || block.round_down(least) != block {
        return Err(Error::BlockSize { block });
    }
    let label = DmLabel::pool(name);
    if find(&kernel, name, &label)?.is_some() {
        let (device, state_dir) = (label.name, config.state_dir.clone());
        return Err(Error::UnknownPoolDevice { name: name.clone(), device, state_dir });
    }
    let media = Media::plan(config);
    media.check_unused()?;

    let row = PoolRow { phase: Phase::Creating, media: media.clone(), block, transaction_id: 0 };
    store.write(|w| w.put_pool(name, &row))?;
    let pool = Pool::of(config, kernel, store, row.clone());
    let made =
        media.make(&config.backing).and_then(|()| pool.activate_pool(false)).and_then(|()| {
            pool.store.write(|w| w.put_pool(name, &PoolRow { phase: Phase::Ready, ..row }))
        });
    if let Err(error) = made {
        if let Err(undo) = unmake(config, &pool.kernel, &pool.store, &media) {
            tracing::error!(pool = %name, error = %crate::error::chain(&undo), "a pool that could not be made leaves something behind");
        }
        return Err(error);
    }
    Ok(pool)
}

/// Takes back what a creation that failed or was cut short has made, and then its row.
fn unmake(config: &PoolConfig, kernel: &Kernel, store: &Store, media: &Media) -> Result<(), Error> {
    let name = &config.name;
    kernel
        .remove(&DmLabel::pool(name).name)
        .map_err(|source| Error::DeactivatePool { name: name.clone(), source })?;
    media.unmake()?;
    store.write(|w| w.drop_pool(name))
}
