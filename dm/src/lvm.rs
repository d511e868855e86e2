//! A thin pool that LVM made: taken over by name, activated and grown by LVM, filled by us alone.
//!
//! LVM leaves a pool without thin volumes of its own to whoever names it, and does not look at its transaction id then
//! (lvmthin(7) has it as a pool for other users; Docker's devicemapper driver used them so). As long as LVM has no volume in
//! the pool its device is the thin-pool target itself; with one, LVM puts a linear device of that name over it.

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
    /// Takes over an active, empty thin pool of LVM's. The caller holds the pool's lock.
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
                "when {} is full its writers hang for a minute; `lvchange --errorwhenfull y` makes them fail at once",
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

    /// Deletes every volume of ours and leaves the pool to LVM. Of volumes one of which is in use none is deleted.
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
            // Another process may have made one meanwhile.
            if self.store.volumes(name)?.is_empty() {
                // As LVM made it, so that it can be adopted again.
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
