//! A new pool. Intent, act, result: the store has a row in phase creating from before the first file is created until the pool
//! is active.

use sharedroot_sys::chain::chain;

use crate::backing::{BackingKind, ExistingData, PoolBacking, Sizes};
use crate::config::PoolConfig;
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Kernel;
use crate::names::DmIdentity;
use crate::pool::Pool;
use crate::store::{PoolPhase, PoolRow, Store};
use crate::units::Bytes;

impl Pool {
    /// Creates a pool and activates it.
    ///
    /// # Errors
    /// [`Error::PoolExists`]; [`Error::Signature`] if a device contains data; [`Error::InUse`] if a device is in use. A failed
    /// creation leaves nothing behind.
    pub fn create(config: &PoolConfig) -> Result<Self, Error> {
        Self::create_as(config, ExistingData::Refuse)
    }

    /// As [`create`](Self::create), but overwrites devices that contain data. A device in use is still refused.
    ///
    /// # Errors
    /// As [`create`](Self::create), without [`Error::Signature`].
    pub fn create_overwriting(config: &PoolConfig) -> Result<Self, Error> {
        Self::create_as(config, ExistingData::Overwrite)
    }

    fn create_as(config: &PoolConfig, existing: ExistingData) -> Result<Self, Error> {
        let (kernel, store, _lock) = Self::prepared(config)?;
        match store.pool(&config.name)? {
            Some(row) if row.is_complete() => Err(Error::PoolExists {
                name: config.name.clone(),
                state_dir: config.state_dir.clone(),
            }),
            _ => Self::create_locked(config, kernel, store, existing),
        }
    }

    /// Creates a pool. The store has no row of the pool, or a row in phase creating, whose remains are removed first. The
    /// caller holds the pool's lock.
    pub(crate) fn create_locked(
        config: &PoolConfig,
        kernel: Kernel,
        store: Store,
        existing: ExistingData,
    ) -> Result<Self, Error> {
        let (name, block) = (&config.name, config.block);
        let (kernel, store) = match store.pool(name)? {
            Some(half) => {
                let pool = Self::from_row(config, kernel, store, half.clone());
                pool.remove_half_created(&half)?;
                (pool.kernel, pool.store)
            }
            None => (kernel, store),
        };
        let backing = PoolBacking::plan(config);
        if backing.kind == BackingKind::Lvm {
            return Self::adopt(config, kernel, store, backing);
        }
        let (least, most) = (Bytes::kib(64), Bytes::gib(1));
        if block < least || block > most || block.round_down(least) != block {
            return Err(Error::BlockSize { block });
        }
        let DmIdentity { name: device, uuid } = DmIdentity::new_pool(name, &store.tag()?);
        refuse_unknown_device(config, &kernel, device)?;
        let claims = backing.claim(existing)?;

        let row = PoolRow {
            phase: PoolPhase::Creating,
            uuid,
            backing,
            block,
            sizes: Sizes::default(),
            transaction_id: 0,
            clean: false,
        };
        store.write(|w| w.put_pool(name, &row))?;
        step("pool intended");
        let pool = Self::from_row(config, kernel, store, row.clone());
        let made = pool.backing.create(&config.backing, claims, block).and_then(|()| {
            let row = PoolRow { sizes: pool.backing.sizes()?, ..row.clone() };
            pool.create_pool_device(&row)?;
            step("pool made");
            pool.store.write(|w| w.put_pool(name, &PoolRow { phase: PoolPhase::Ready, ..row }))
        });
        if let Err(error) = made {
            if let Err(undo) = pool.remove_half_created(&row) {
                tracing::error!(pool = %name, error = %chain(&undo), "cannot remove what is left of a pool that could not be created; the next creation removes it");
            }
            return Err(error);
        }
        step("pool recorded");
        Ok(pool)
    }

    /// Removes what a failed or interrupted creation has left, and then the pool's row.
    pub(crate) fn remove_half_created(&self, row: &PoolRow) -> Result<(), Error> {
        let name = &self.config.name;
        if self.find()?.is_some() {
            self.kernel
                .remove(&self.identity.name)
                .map_err(|source| Error::DeactivatePool { name: name.clone(), source })?;
        }
        self.backing.remove(row.block, row.transaction_id)?;
        self.store.write(|w| w.drop_pool(name))
    }
}

/// Refuses to create a pool while a device of its name is active: that device is a pool that the store does not know.
fn refuse_unknown_device(
    config: &PoolConfig,
    kernel: &Kernel,
    device: String,
) -> Result<(), Error> {
    let name = config.name.clone();
    let found = kernel.find(&device);
    if found.map_err(|source| Error::PoolStatus { name: name.clone(), source })?.is_none() {
        return Ok(());
    }
    let volumes = kernel
        .names()
        .map_err(|source| Error::List { pool: name.clone(), source })?
        .iter()
        .filter(|device| DmIdentity::volume_of(&name, device).is_some())
        .count();
    let state_dir = config.state_dir.clone();
    Err(Error::UnknownPoolDevice { name, device, volumes, state_dir })
}
