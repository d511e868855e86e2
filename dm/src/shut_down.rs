//! A pool deactivated, or destroyed.

use crate::backing::BackingKind;
use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::status::StatusLine;
use crate::store::{PoolPhase, PoolRow};

impl Pool {
    /// Deactivates every volume and the pool, and detaches the pool's loop files. Nothing is deleted: [`Pool::open`] activates
    /// the pool again. A pool of LVM stays active.
    ///
    /// # Errors
    /// [`Error::Busy`] if a volume is in use, [`Error::VolumeLocked`] if a process creates or deletes one.
    pub fn shut_down(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.deactivate_all()
    }

    /// Deactivates the pool and deletes it with all its volumes. Loop files are removed, and the ends of devices are cleared.
    /// In a pool of LVM only the volumes of this crate are deleted.
    ///
    /// # Errors
    /// As [`shut_down`](Self::shut_down). Then the pool still exists.
    pub fn destroy(self) -> Result<(), Error> {
        let name = &self.config.name;
        if self.backing.kind == BackingKind::Lvm {
            return self.release();
        }
        let _lock = self.lock()?;
        self.deactivate_all()?;
        let Some(row) = self.store.pool(name)? else { return Ok(()) };
        // From here on the pool's row is that of an interrupted creation. So the next `open` or `create` finishes the deletion.
        let row = PoolRow { phase: PoolPhase::Creating, ..row };
        self.store.write(|w| w.drop_pool(name).and_then(|()| w.put_pool(name, &row)))?;
        step("end intended");
        self.remove_half_created(&row)
    }

    fn deactivate_all(&self) -> Result<(), Error> {
        let name = &self.config.name;
        for row in self.store.volumes(name)? {
            // Somebody holds the lock: a living process creates or deletes the volume.
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, name, &row.name)? else {
                return Err(Error::VolumeLocked { volume: row.name, pool: name.clone() });
            };
            self.deactivate_row(&row)?;
        }
        let Some(device) = self.find()?.filter(|_| self.backing.kind != BackingKind::Lvm) else {
            return self.backing.disconnect();
        };
        // If the process that created the device died early, the device has no table and no status.
        let sound =
            device.live && matches!(self.status_line()?, StatusLine::Working(w) if !w.needs_check);
        self.kernel
            .remove(&self.identity.name)
            .map_err(|source| Error::DeactivatePool { name: name.clone(), source })?;
        step("pool deactivated");
        self.backing.disconnect()?;
        step("loop devices detached");
        if sound && let Some(row) = self.store.pool(name)? {
            self.store.write(|w| w.put_pool(name, &PoolRow { clean: true, ..row }))?;
        }
        Ok(())
    }
}
