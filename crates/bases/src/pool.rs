//! The pool as a whole: which containers use it, and how every mount on it is removed.

use sharedroot_dm::Error as DmError;
use sharedroot_format::BaseKey;
use sharedroot_sys::mount;

use crate::bases::Bases;
use crate::catalog_file::CatalogFile;
use crate::containers::Containers;
use crate::entries::entries;
use crate::error::{RootfsError, file};
use crate::notes::Notes;

impl Bases {
    /// Makes the leases agree with the records: after a `delete` that was killed, and for containers of a version without
    /// leases.
    ///
    /// # Errors
    /// [`RootfsError::Lease`], [`RootfsError::Containers`].
    pub fn reconcile_leases(&self, containers: &dyn Containers) -> Result<(), RootfsError> {
        self.leases().reconcile(|| containers.leases().map_err(RootfsError::Containers))
    }

    /// The containers that have a root on the pool, running or not.
    fn users(&self, containers: &dyn Containers) -> Result<Vec<String>, RootfsError> {
        self.reconcile_leases(containers)?;
        Ok(self.leases().all()?.into_iter().map(|lease| lease.name).collect())
    }

    /// The mounted bases, used or not.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn mounted_bases(&self) -> Result<Vec<BaseKey>, RootfsError> {
        let dir = self.run_dir().join("base");
        let mut keys = entries::<BaseKey>(&dir).map_err(file("list", &dir))?;
        keys.retain(|key| mount::device_mounted_at(&self.base_mount(key)).is_some());
        Ok(keys)
    }

    /// Unmounts every base of the pool. A container that is created meanwhile mounts its base again, and then the pool's device
    /// is busy.
    fn vacate(&self, containers: &dyn Containers) -> Result<(), RootfsError> {
        let pool = self.known_pool()?;
        let containers = self.users(containers)?;
        if !containers.is_empty() {
            return Err(RootfsError::PoolInUse { pool: pool.name().clone(), containers });
        }
        for volume in pool.volumes()? {
            if let Some(key) = volume.name.base() {
                self.unmount_base(&key)?;
            } else if volume.name.is_layer() {
                self.unshare_layer(&volume.name)?;
            }
        }
        Ok(())
    }

    /// Unmounts every base, and deactivates the pool. A pool of LVM's stays active.
    ///
    /// # Errors
    /// [`RootfsError::PoolInUse`]: nothing has changed then. [`RootfsError::Dm`].
    pub fn deactivate(self, containers: &dyn Containers) -> Result<(), RootfsError> {
        self.vacate(containers)?;
        Ok(self.into_known_pool()?.shut_down().map_err(DmError::naming_users)?)
    }

    /// Destroys the pool, and deletes the notes and catalog entries of its volumes.
    ///
    /// # Errors
    /// [`RootfsError::PoolInUse`]: nothing has changed then. [`RootfsError::Dm`].
    pub fn destroy(self, containers: &dyn Containers) -> Result<(), RootfsError> {
        self.vacate(containers)?;
        let volumes = self.known_pool()?.volumes()?;
        let config = self.config().clone();
        self.into_known_pool()?.destroy().map_err(DmError::naming_users)?;
        for volume in &volumes {
            Notes::below(&config.pool.state_dir).remove(&volume.name)?;
        }
        CatalogFile::of(&config.pool.state_dir, &config.pool.run_dir).change(|catalog| {
            volumes.iter().filter_map(|v| v.name.base()).for_each(|key| catalog.forget(&key));
        })?;
        Ok(())
    }
}
