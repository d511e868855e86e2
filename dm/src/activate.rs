//! A pool activated: first its metadata must be the store's and sound, then the kernel gets its table.

use sharedroot_sys::chain::chain;

use crate::backing::{BackingKind, Sizes};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Access;
use crate::lock::Lock;
use crate::pool::{LastEnd, Pool, TransactionCheck};
use crate::store::{PoolPhase, PoolRow};
use crate::superblock::Superblock;
use crate::table::PoolTable;
use crate::units::Bytes;

impl Pool {
    /// Makes sure that the pool runs and has the sizes of its row. Returns how the pool's last use ended. The caller holds the pool's lock.
    pub(crate) fn activate_row(
        &self,
        lock: &Lock,
        mut row: PoolRow,
        check: TransactionCheck,
    ) -> Result<LastEnd, Error> {
        let name = &self.config.name;
        let failed = |source| Error::ActivatePool { name: name.clone(), source };
        match self.find()? {
            Some(device) if device.live => {
                if device.suspended {
                    self.kernel.resume(&self.identity.name).map_err(failed)?;
                }
                if row.phase == PoolPhase::Growing
                    && let Err(error) = self.finish_growth(row)
                {
                    // The pool works with the size it has.
                    tracing::warn!(pool = %name, error = %chain(&error), "the pool's growth is still unfinished");
                }
                return Ok(LastEnd::Clean);
            }
            _ if self.backing.kind == BackingKind::Lvm => {
                return Err(Error::LvmInactive { node: self.backing.data.clone() });
            }
            // Its maker died between creation and table.
            Some(_) => drop(self.kernel.remove(&self.identity.name).map_err(failed)?),
            None => {}
        }
        let block = self.verify_backing(&mut row, check)?;
        let end = match row.clean && !block.needs_check {
            true => LastEnd::Clean,
            false => LastEnd::Unclean,
        };
        if end == LastEnd::Unclean {
            self.check_inactive(lock)?;
        } else {
            self.store.write(|w| w.put_pool(name, &PoolRow { clean: false, ..row.clone() }))?;
        }
        step("pool to be used");
        if row.phase == PoolPhase::Growing
            && let Err(error) = self.backing.extend(row.sizes)
        {
            tracing::warn!(pool = %name, error = %chain(&error), "the pool's growth is given up");
            let data = Bytes(block.data_blocks * row.block.0);
            row.sizes = Sizes { data, metadata: block.metadata_size };
        }
        self.create_pool_device(&row)?;
        self.store.write(|w| {
            w.put_pool(name, &PoolRow { phase: PoolPhase::Ready, clean: false, ..row })
        })?;
        Ok(end)
    }

    /// Whether data and metadata are those that the store knows. The kernel would take a zeroed metadata device for a new
    /// pool and forget every volume, and another pool's metadata as they are. Changes nothing but `row`.
    fn verify_backing(
        &self,
        row: &mut PoolRow,
        check: TransactionCheck,
    ) -> Result<Superblock, Error> {
        let path = &self.backing.metadata;
        let block = self.superblock_of(row)?;
        let there = self.backing.sizes()?;
        if row.sizes == Sizes::default() {
            row.sizes = there;
        }
        let known = row.sizes.data.0 / row.block.0;
        if block.data_blocks > known {
            let held = Bytes(block.data_blocks.saturating_mul(row.block.0));
            // A store from before a growth.
            if check == TransactionCheck::Required || held > there.data {
                let found = format!("{} data blocks, not {known}", block.data_blocks);
                return Err(Error::ForeignMetadata { path: path.clone(), found });
            }
            row.sizes.data = held;
        }
        if there.metadata < block.metadata_size {
            let (size, recorded) = (there.metadata, block.metadata_size);
            return Err(Error::Shrunk { path: path.clone(), size, recorded });
        }
        // A loop file that is to grow may still be short.
        if there.data < row.sizes.data && row.phase != PoolPhase::Growing {
            let (size, recorded) = (there.data, row.sizes.data);
            return Err(Error::Shrunk { path: self.backing.data.clone(), size, recorded });
        }
        let (kernel, store) = (block.transaction_id, row.transaction_id);
        let matches = store == kernel || Some(store) == kernel.checked_add(1);
        if check == TransactionCheck::Required && !matches {
            return Err(Error::Transaction { name: self.config.name.clone(), kernel, store });
        }
        Ok(block)
    }

    /// Makes the pool's device.
    pub(crate) fn create_pool_device(&self, row: &PoolRow) -> Result<(), Error> {
        let connected = self.backing.connect()?;
        let size = row.sizes.data.round_down(row.block);
        if size.0 == 0 {
            return Err(Error::Small { path: self.backing.data.clone(), size: row.sizes.data });
        }
        let blocks = size.0 / row.block.0;
        let limit = self.config.fill_limit;
        let table = PoolTable::new(connected.metadata, connected.data, row.block, blocks, limit);
        self.kernel
            .create(&self.identity, &table.over(size), Access::ReadWrite)
            .map_err(|source| Error::ActivatePool { name: self.config.name.clone(), source })?;
        connected.keep();
        Ok(())
    }

    /// The table that the pool's device has in use.
    pub(crate) fn table(&self) -> Result<PoolTable, Error> {
        let name = &self.config.name;
        let (_, params) = self
            .kernel
            .table(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        params.parse().map_err(|source| Error::PoolTable { name: name.clone(), source })
    }
}
