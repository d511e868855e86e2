//! Where things are.

use std::path::PathBuf;

use sharedroot_dm::{Bytes, Pool, PoolConfig};
use sharedroot_format::BaseKey;
use sharedroot_label::SharedLabel;

use crate::containers::Containers;
use crate::error::RootfsError;
use crate::leases::Leases;

/// Where things are and how bases are made; what the configuration says of bases.
#[derive(Debug, Clone)]
pub struct Bases {
    /// The thin pool.
    pub pool: PoolConfig,
    /// Size of a base's file system.
    pub base_size: Bytes,
    /// Whether a container waits for a base that another one is making.
    pub base_wait: bool,
    /// The label of bases, instead of the one that the policy names.
    pub shared_label: Option<SharedLabel>,
}

impl Bases {
    /// Who uses which base.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::below(&self.pool.run_dir)
    }

    /// Makes the leases those that the records name: after a `delete` that was killed, and for containers of a version
    /// without leases.
    ///
    /// # Errors
    /// [`RootfsError::Lease`], [`RootfsError::Containers`].
    pub fn reconcile_leases(&self, containers: &dyn Containers) -> Result<(), RootfsError> {
        self.leases().reconcile(|| containers.leases().map_err(RootfsError::Containers))
    }

    /// Where the base of `key` is mounted.
    #[must_use]
    pub fn base_mount(&self, key: &BaseKey) -> PathBuf {
        self.pool.run_dir.join("base").join(key.to_string())
    }

    /// Where prepared volumes are placed in a container's own mount namespace. Not below the run
    /// directory, which only root may enter: root of a user namespace must reach them.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        let mut name = self.pool.run_dir.clone().into_os_string();
        name.push("-volumes");
        name.into()
    }

    /// The pool, if it has been made.
    ///
    /// # Errors
    /// [`RootfsError::Dm`].
    pub fn pool_if_made(&self) -> Result<Option<Pool>, RootfsError> {
        Ok(if Pool::exists(&self.pool)? { Some(Pool::open(&self.pool)?) } else { None })
    }
}
