//! A thin pool that LVM created. LVM activates and grows the pool, and only this crate creates volumes in it.
//!
//! If LVM has no thin volumes in a pool, LVM does not compare the pool's transaction id, so another program may use the pool
//! (lvmthin(7); Docker's devicemapper driver did so). Then the device with the pool's name has the target thin-pool. As soon as
//! LVM has a thin volume in the pool, the device with that name is a linear device over the pool.

use crate::backing::{PoolBacking, Sizes};
use crate::config::PoolConfig;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::pool::Pool;
use crate::status::{PoolStatus, StatusLine};
use crate::store::{PoolPhase, PoolRow, Store};
use crate::table::PoolTable;
use crate::units::Bytes;

impl Pool {
    /// Adopts an active, empty thin pool of LVM. The caller holds the pool's lock.
    pub(crate) fn adopt(
        config: &PoolConfig,
        kernel: Kernel,
        store: Store,
        backing: PoolBacking,
    ) -> Result<Self, Error> {
        let name = &config.name;
        let failed = |source| Error::PoolStatus { name: name.clone(), source };
        let node = backing.data.clone();
        let row = PoolRow {
            phase: PoolPhase::Creating,
            uuid: String::new(),
            backing,
            block: config.block,
            sizes: Sizes::default(),
            transaction_id: 0,
            clean: false,
        };
        let mut pool = Self::from_row(config, kernel, store, row.clone());
        let Some(device) = pool.kernel.find(&pool.identity.name).map_err(failed)? else {
            return Err(Error::LvmInactive { node });
        };
        let (target, params) = pool.kernel.table(&pool.identity.name).map_err(failed)?;
        if target != "thin-pool" || !device.uuid.starts_with("LVM-") {
            return Err(Error::LvmNotPool { node, target });
        }
        let table: PoolTable =
            params.parse().map_err(|source| Error::PoolTable { name: name.clone(), source })?;
        pool.identity.uuid.clone_from(&device.uuid);
        let StatusLine::Working(working) = pool.status_line()? else {
            return Err(Error::LvmNotEmpty { node });
        };
        if working.transaction_id != 0 || working.data.used != 0 {
            return Err(Error::LvmNotEmpty { node });
        }
        if !table.features.iter().any(|feature| feature == "error_if_no_space") {
            tracing::warn!(
                "when the pool {} is full, its writers hang for a minute; run `lvchange --errorwhenfull y` to make them fail at once",
                node.display()
            );
        }
        let sizes = Sizes {
            data: Bytes(working.data.total * table.block.0),
            metadata: Bytes(working.metadata.total * PoolStatus::METADATA_BLOCK.0),
        };
        let row = PoolRow {
            phase: PoolPhase::Ready,
            uuid: device.uuid,
            block: table.block,
            sizes,
            ..row
        };
        pool.store.write(|w| w.put_pool(name, &row))?;
        let Self { kernel, store, .. } = pool;
        Ok(Self::from_row(config, kernel, store, row))
    }

    /// Deletes all volumes of this crate, and leaves the pool to LVM. If one volume is in use, no volume is deleted.
    pub(crate) fn release(&self) -> Result<(), Error> {
        let name = &self.config.name;
        if !self.is_active()? {
            return Err(Error::LvmInactive { node: self.backing.data.clone() });
        }
        for volume in self.store.volumes(name)? {
            self.deactivate(&volume.name)?;
        }
        loop {
            for volume in self.store.volumes(name)? {
                self.delete(&volume.name)?;
            }
            let _lock = self.lock()?;
            // Another process may have created a volume meanwhile.
            if self.store.volumes(name)?.is_empty() {
                // LVM created the pool with the transaction id 0. With this id the pool can be adopted again.
                let from = self.working()?.1.transaction_id;
                let message = format!("set_transaction_id {from} 0");
                self.kernel.message(&self.identity, &message).map_err(|source| {
                    Error::SetTransaction { name: name.clone(), from, to: 0, source }
                })?;
                return self.store.write(|w| w.drop_pool(name));
            }
        }
    }
}
