//! The pool as a whole: who uses it, and everything of ours that lies mounted on it taken away.

use sharedroot_dm::{Error, Pool};
use sharedroot_format::BaseKey;
use sharedroot_sys::mount;

use super::scaffold::entries;
use crate::bases::Bases;
use crate::containers::Containers;
use crate::error::RootfsError;

impl Bases {
    /// The pool, active or not. Makes and activates nothing.
    ///
    /// # Errors
    /// [`RootfsError::Dm`], also if there is no pool.
    pub fn known_pool(&self) -> Result<Pool, RootfsError> {
        Pool::known(&self.pool)?.ok_or_else(|| self.no_pool())
    }

    /// The pool, activated if it was not. Makes none.
    ///
    /// # Errors
    /// [`RootfsError::Dm`], also if there is no pool.
    pub fn active_pool(&self) -> Result<Pool, RootfsError> {
        self.pool_if_made()?.ok_or_else(|| self.no_pool())
    }

    fn no_pool(&self) -> RootfsError {
        let (name, state_dir) = (self.pool.name.clone(), self.pool.state_dir.clone());
        Error::NoPool { name, state_dir }.into()
    }

    /// The containers that have a root on the pool, running or not.
    fn users(&self, containers: &dyn Containers) -> Result<Vec<String>, RootfsError> {
        self.reconcile_leases(containers)?;
        Ok(self.leases().all()?.into_iter().map(|lease| lease.name).collect())
    }

    /// The bases that are mounted, whoever uses them.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub fn mounted_bases(&self) -> Result<Vec<BaseKey>, RootfsError> {
        let mut keys = entries::<BaseKey>(&self.pool.run_dir.join("base"))?;
        keys.retain(|key| mount::device_mounted_at(&self.base_mount(key)).is_some());
        Ok(keys)
    }

    /// Unmounts every base of the pool. A container that is created meanwhile mounts its base
    /// anew, and then the pool's device is busy.
    ///
    /// # Errors
    /// [`RootfsError::PoolInUse`]; then nothing has changed.
    pub fn vacate(&self, pool: &Pool, containers: &dyn Containers) -> Result<(), RootfsError> {
        let containers = self.users(containers)?;
        if !containers.is_empty() {
            return Err(RootfsError::PoolInUse { pool: pool.name().clone(), containers });
        }
        for volume in pool.volumes()? {
            if let Some(key) = volume.name.base() {
                self.unmount_base(&key)?;
            }
        }
        Ok(())
    }

    /// Destroys the pool, and forgets what was known of its volumes.
    ///
    /// # Errors
    /// [`RootfsError::PoolInUse`], then nothing has changed; [`RootfsError::Dm`].
    pub fn destroy(&self, pool: Pool, containers: &dyn Containers) -> Result<(), RootfsError> {
        self.vacate(&pool, containers)?;
        let volumes = pool.volumes()?;
        pool.destroy()?;
        for volume in &volumes {
            self.remove_note(&volume.name)?;
        }
        self.change_catalog(|catalog| {
            volumes.iter().filter_map(|v| v.name.base()).for_each(|key| catalog.forget(&key));
        })
    }
}
