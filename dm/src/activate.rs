//! A pool activated. First the metadata is compared with the store and checked, and then the kernel gets the pool's table.

use sharedroot_sys::chain::chain;

use crate::backing::{BackingKind, Sizes};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Access;
use crate::lock::Lock;
use crate::open::{LastEnd, TransactionCheck};
use crate::pool::Pool;
use crate::store::{PoolPhase, PoolRow};
use crate::superblock::Superblock;
use crate::table::PoolTable;
use crate::units::Bytes;

impl Pool {
    /// Activates the pool if it is not active, and gives it the sizes of its row. Returns how the pool's last use ended. The
    /// caller holds the pool's lock.
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
                    // The pool works with the size that it has.
                    tracing::warn!(pool = %name, error = %chain(&error), "cannot finish growing the pool; the next use of the pool tries again");
                }
                return Ok(LastEnd::Clean);
            }
            _ if self.backing.kind == BackingKind::Lvm => {
                return Err(Error::LvmInactive { node: self.backing.data.clone() });
            }
            // The process that created the device died before it loaded the table.
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
            tracing::warn!(pool = %name, error = %chain(&error), "cannot extend the pool's files; the pool keeps its old size");
            let data = Bytes(block.data_blocks * row.block.0);
            row.sizes = Sizes { data, metadata: block.metadata_size };
        }
        self.create_pool_device(&row)?;
        self.store.write(|w| {
            w.put_pool(name, &PoolRow { phase: PoolPhase::Ready, clean: false, ..row })
        })?;
        Ok(end)
    }

    /// Refuses data and metadata that are not the store's. The kernel would format a zeroed metadata device as a new pool, and
    /// so lose every volume, and it would accept another pool's metadata. Changes only `row`: fills in sizes that the store
    /// does not have.
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
            // The store is a copy from before the pool grew.
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
        // The loop file of a pool in phase growing may still be short.
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

    /// Creates the pool's device, with its loop files attached.
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

    /// The table in use of the pool's device.
    pub(crate) fn table(&self) -> Result<PoolTable, Error> {
        let name = &self.config.name;
        let (_, params) = self
            .kernel
            .table(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        params.parse().map_err(|source| Error::PoolTable { name: name.clone(), source })
    }
}
