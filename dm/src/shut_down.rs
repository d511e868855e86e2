//! A pool deactivated, or destroyed.

use crate::backing::BackingKind;
use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::status::StatusLine;
use crate::store::{PoolPhase, PoolRow};

impl Pool {
    /// Deactivates every volume and the pool and detaches its loop files. The pool and its volumes stay; [`Pool::open`]
    /// brings them back. A pool of LVM's stays active.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses.
    pub fn shut_down(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.deactivate_all()
    }

    /// Shuts the pool down and forgets it with all its volumes: loop files are removed, of devices the superblock is cleared,
    /// in a pool of LVM's our volumes are deleted.
    ///
    /// # Errors
    /// A volume is in use, or the kernel refuses. Then the pool is still there.
    pub fn destroy(self) -> Result<(), Error> {
        let name = &self.config.name;
        if self.backing.kind == BackingKind::Lvm {
            return self.release();
        }
        let _lock = self.lock()?;
        self.deactivate_all()?;
        let Some(row) = self.store.pool(name)? else { return Ok(()) };
        // From here on the pool is as one whose creation was cut short: the next `open` or `create` finishes its end.
        let row = PoolRow { phase: PoolPhase::Creating, ..row };
        self.store.write(|w| w.drop_pool(name).and_then(|()| w.put_pool(name, &row)))?;
        step("end intended");
        self.unmake(&row)
    }

    fn deactivate_all(&self) -> Result<(), Error> {
        let name = &self.config.name;
        for row in self.store.volumes(name)? {
            // Its maker or deleter lives.
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, name, &row.name)? else {
                return Err(Error::Making { volume: row.name, pool: name.clone() });
            };
            self.deactivate_row(&row)?;
        }
        let Some(device) = self.find()?.filter(|_| self.backing.kind != BackingKind::Lvm) else {
            return self.backing.disconnect();
        };
        // A device whose maker died has no table, and no status.
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
