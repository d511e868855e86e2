//! A pool grows while it is in use. Intent, act, result: the store gets the new sizes before a file changes, so that the next
//! use of the pool finishes an interrupted growth.

use std::time::Duration;

use crate::backing::{BackingKind, Sizes};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Access;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::status::{Blocks, PoolMode, PoolStatus, StatusLine, Working};
use crate::store::{PoolPhase, PoolRow};
use crate::table::PoolTable;
use crate::units::{Bytes, Percent};

/// The largest metadata size that a pool grows to by itself. dm-thin uses a little less than 16 GiB of a metadata device
/// (`THIN_METADATA_MAX_SECTORS`), and this is a round number below that.
const METADATA_MOST: Bytes = Bytes(Bytes::gib(16).0 - Bytes::mib(128).0);

/// How often [`Pool::watch`] checks a pool that runs low.
const LOW_AGAIN: Duration = Duration::from_secs(30);

impl Pool {
    /// Makes the pool larger. A pool on loop files grows to the given sizes. If no size is given, its data grows by half. A
    /// pool on devices takes the sizes that its devices have now.
    ///
    /// # Errors
    /// [`Error::Shrink`]; [`Error::NoRoomToGrow`]; [`Error::GrowDevices`] for sizes of a pool on devices; [`Error::LvmGrows`]
    /// for a pool of LVM. Then nothing has changed.
    pub fn grow(&self, data: Option<Bytes>, metadata: Option<Bytes>) -> Result<(), Error> {
        let lock = self.lock()?;
        let row = self.pool_row()?;
        let sizes = match self.backing.kind {
            BackingKind::Lvm => return Err(Error::LvmGrows { node: self.backing.data.clone() }),
            BackingKind::Devices if data.or(metadata).is_some() => {
                return Err(Error::GrowDevices { name: self.config.name.clone() });
            }
            BackingKind::Devices => self.backing.sizes()?,
            BackingKind::Loop => {
                let data = data.unwrap_or_else(|| match metadata {
                    Some(_) => row.sizes.data,
                    None => half_more(row.sizes.data),
                });
                let data = data.round_down(self.block);
                Sizes { data, metadata: metadata.unwrap_or(row.sizes.metadata) }
            }
        };
        self.grow_to(&lock, row, sizes)
    }

    /// Makes sure that the next writes to volumes find `most` blocks of the pool that no volume has. If the pool ran full while a
    /// journal is replayed, the kernel would empty the journal all the same, and the changes in it would be lost.
    ///
    /// # Errors
    /// Those of [`make_room`](Self::make_room).
    pub fn make_room_for_blocks(&self, most: u64) -> Result<(), Error> {
        let status = self.status()?;
        let free = status.data.map_or(0, |data| data.total - data.used);
        if status.mode == PoolMode::ReadWrite && free >= most {
            return Ok(());
        }
        self.make_room(Bytes(most.saturating_mul(status.block.0)))
    }

    /// Makes sure that `more` bytes fit into the pool, and that the pool still accepts a new volume after that. If needed, a
    /// pool on loop files grows, if its file system has room. Nothing is reserved: other writers use the same room meanwhile.
    ///
    /// # Errors
    /// [`Error::TooSmall`], or [`Error::Full`] if the pool accepts no new volume even without `more`. Then nothing has changed.
    pub fn make_room(&self, more: Bytes) -> Result<(), Error> {
        let lock = self.lock()?;
        let (_, Working { data, .. }) = self.working()?;
        let wanted = data.used + more.0.div_ceil(self.block.0);
        let fits = |total| wanted < self.config.fill_limit.of(total);
        if fits(data.total) {
            return Ok(());
        }
        let size = |blocks: u64| Bytes(blocks.saturating_mul(self.block.0));
        let mut most = size(data.total);
        if self.backing.kind == BackingKind::Loop {
            let row = self.pool_row()?;
            let least = size(self.config.fill_limit.whole_of(wanted + 1));
            most = most.max(self.backing.room()?.data.round_down(self.block));
            let grown = half_more(row.sizes.data).round_down(self.block).max(least).min(most);
            if fits(grown.0 / self.block.0) {
                tracing::info!(pool = %self.config.name, data = %grown, %more, "the pool grows to make room for what is to be written");
                let sizes = Sizes { data: grown, ..row.sizes };
                return self.grow_to(&lock, row, sizes);
            }
        }
        let blocks = Blocks { used: data.used, total: most.0 / self.block.0 };
        if self.is_low(blocks) {
            return Err(self.full("data", blocks));
        }
        let (name, path) = (self.config.name.clone(), self.backing.data.clone());
        let (used, limit) = (size(data.used), self.config.fill_limit);
        Err(Error::TooSmall { name, more, used, most, limit, path })
    }

    /// Grows a pool on loop files whose data or metadata has reached the limit, if its file system has room. Returns `true` if
    /// the pool grew.
    pub(crate) fn grow_if_low(&self, lock: &Lock, working: &Working) -> Result<bool, Error> {
        if self.backing.kind != BackingKind::Loop {
            return Ok(false);
        }
        let (low_data, low_metadata) = (self.is_low(working.data), self.is_low(working.metadata));
        if !low_data && !low_metadata {
            return Ok(false);
        }
        let row = self.pool_row()?;
        let Sizes { mut data, mut metadata } = row.sizes;
        let room = self.backing.room()?;
        if low_data {
            data = half_more(data).min(room.data).max(data);
        }
        if low_metadata {
            metadata = Bytes(metadata.0 * 2).min(METADATA_MOST).min(room.metadata).max(metadata);
        }
        let sizes = Sizes { data: data.round_down(self.block).max(row.sizes.data), metadata };
        if sizes == row.sizes {
            return Ok(false);
        }
        tracing::info!(pool = %self.config.name, data = %sizes.data, metadata = %sizes.metadata, "the pool runs low and grows");
        self.grow_to(lock, row, sizes).map(|()| true)
    }

    /// Whether so many blocks are in use that the pool refuses a new volume.
    pub(crate) fn is_low(&self, blocks: Blocks) -> bool {
        blocks.used >= self.config.fill_limit.of(blocks.total).max(1)
    }

    pub(crate) fn pool_row(&self) -> Result<PoolRow, Error> {
        let (name, state_dir) = (&self.config.name, &self.config.state_dir);
        self.store
            .pool(name)?
            .filter(PoolRow::is_complete)
            .ok_or_else(|| Error::NoPool { name: name.clone(), state_dir: state_dir.clone() })
    }

    fn grow_to(&self, _lock: &Lock, row: PoolRow, sizes: Sizes) -> Result<(), Error> {
        let name = &self.config.name;
        let now = self.data_blocks()?;
        // The size in the kernel counts as well, because a restored store may have an older size. The kernel refuses a smaller
        // table only when it is in use already.
        let least = row.sizes.data.round_down(self.block).max(Bytes(now * self.block.0));
        if sizes.data < least || sizes.metadata < row.sizes.metadata {
            let metadata = row.sizes.metadata;
            return Err(Error::Shrink { name: name.clone(), data: least, metadata });
        }
        if self.backing.kind == BackingKind::Loop {
            let (backing, room) = (&self.backing, self.backing.room()?);
            for (path, old, wanted, room) in [
                (&backing.data, row.sizes.data, sizes.data, room.data),
                (&backing.metadata, row.sizes.metadata, sizes.metadata, room.metadata),
            ] {
                if wanted > old && wanted > room {
                    return Err(Error::NoRoomToGrow { path: path.clone(), wanted, room });
                }
            }
        }
        let grown = PoolRow { phase: PoolPhase::Growing, sizes, ..row.clone() };
        self.store.write(|w| w.put_pool(name, &grown))?;
        step("growth intended");
        if let Err(error) = self.finish_growth(grown) {
            // The table in use shows whether the pool has the new size. A longer file alone does no harm.
            if self.data_blocks().is_ok_and(|blocks| blocks == now) {
                self.store.write(|w| w.put_pool(name, &row))?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Gives the active pool the sizes of its row. The caller holds the pool's lock.
    pub(crate) fn finish_growth(&self, row: PoolRow) -> Result<(), Error> {
        let name = &self.config.name;
        if self.backing.kind == BackingKind::Loop {
            self.backing.extend(row.sizes)?;
        }
        let failed = |source| Error::Grow { name: name.clone(), source };
        let (now, blocks) = (self.table()?, self.data_blocks()?);
        let limit = self.config.fill_limit;
        let over = |blocks| {
            let table = PoolTable::new(now.metadata, now.data, self.block, blocks, limit);
            let table = table.over(Bytes(blocks * self.block.0));
            self.kernel.reload(&self.identity.name, &table, Access::ReadWrite)
        };
        // The table is loaded again even if the data does not grow: the kernel reads the size of the metadata device only then.
        if let Err(error) = over(row.sizes.data.0 / self.block.0).map_err(failed) {
            // The kernel exchanges the tables before it tries the new size. If it refuses the size, the pool stays suspended,
            // so the old table is loaded again.
            if let Err(back) = over(blocks) {
                tracing::error!(pool = %name, %back, "cannot resume the pool; run `dmsetup resume {}`", self.identity.name);
            }
            return Err(error);
        }
        self.store.write(|w| w.put_pool(name, &PoolRow { phase: PoolPhase::Ready, ..row }))
    }

    /// The number of data blocks that the pool has in the kernel.
    fn data_blocks(&self) -> Result<u64, Error> {
        match self.status_line()? {
            StatusLine::Working(working) => Ok(working.data.total),
            StatusLine::Broken(_) => {
                Err(Error::Stuck { name: self.config.name.clone(), mode: PoolMode::Fail })
            }
        }
    }

    /// Waits for the kernel's events of the pool, and grows the pool when it runs low. Returns when the pool is deactivated.
    /// When the pool runs low and does not grow, this function calls `low` with the used shares of data and metadata in
    /// percent.
    ///
    /// # Errors
    /// The kernel does not answer, or the pool cannot grow for another reason than a full file system.
    pub fn watch(&self, mut low: impl FnMut(u8, u8)) -> Result<(), Error> {
        let name = &self.config.name;
        let failed = |source| Error::PoolStatus { name: name.clone(), source };
        let mut warned = false;
        loop {
            // Armed before the check, so that an event between check and wait ends the wait at once.
            self.kernel.arm_events().map_err(failed)?;
            // The lock keeps other processes from deactivating or growing the pool between the check and the growth.
            let lock = self.lock()?;
            if self.find()?.is_none() {
                return Ok(());
            }
            if let StatusLine::Working(working) = self.status_line()? {
                let grown = self.grow_if_low(&lock, &working)?;
                let is_low = !grown && (self.is_low(working.data) || self.is_low(working.metadata));
                if is_low && !warned {
                    low(working.data.percent(), working.metadata.percent());
                }
                warned = is_low;
            }
            drop(lock);
            // The kernel sends no second event for a pool that did not grow, and the file system may have room again later.
            self.kernel.wait_for_event(warned.then_some(LOW_AGAIN)).map_err(failed)?;
        }
    }

    /// The error for a pool whose `what`, data or metadata, is too full.
    pub(crate) fn full(&self, what: &'static str, blocks: Blocks) -> Error {
        let (unit, path) = match what {
            "data" => (self.block, &self.backing.data),
            _ => (PoolStatus::METADATA_BLOCK, &self.backing.metadata),
        };
        let size = |blocks: u64| Bytes(blocks.saturating_mul(unit.0));
        let limit: Percent = self.config.fill_limit;
        Error::Full {
            name: self.config.name.clone(),
            what,
            used: size(blocks.used),
            total: size(blocks.total),
            limit,
            path: path.clone(),
        }
    }
}

/// The size that a pool's data grows to when no size is given.
const fn half_more(size: Bytes) -> Bytes {
    Bytes(size.0 / 2 * 3)
}
