//! The bases that the configuration describes.

use sharedroot_bases::{self as bases, Bases, RootfsError};
use sharedroot_dm::{Backing, Bytes, PoolConfig, PoolName};
use sharedroot_label::SharedLabel;

use super::{Config, Media};

impl Config {
    /// The bases. Nothing is opened yet.
    ///
    /// # Errors
    /// [`RootfsError::Name`] for a name that cannot be part of a device name, or that is no name of a thin pool of LVM;
    /// [`RootfsError::SharedLabel`] for a label that is malformed or has categories.
    pub fn bases(&self) -> Result<Bases, RootfsError> {
        let pool = &self.pool;
        let backing = match (&pool.media, Backing::default_loop()) {
            (Media::Loop(Some(size)), Backing::Loop { metadata, .. }) => {
                Backing::Loop { data: Bytes(size.0), metadata }
            }
            (Media::Loop(_), default) => default,
            (Media::Devices { data, metadata }, _) => {
                Backing::Devices { data: data.clone(), metadata: metadata.clone() }
            }
            (Media::Lvm(name), _) => Backing::Lvm(name.parse()?),
        };
        let name: PoolName = pool.name.parse()?;
        let on_loop = PoolConfig::on_loop(name, pool.state_dir.clone(), pool.run_dir.clone());
        let pool = PoolConfig { backing, ..on_loop };
        let shared_label = self.selinux.shared_label.as_deref().map(SharedLabel::parse);
        Ok(Bases::new(bases::Config {
            pool,
            base_size: Bytes(self.base.size.0),
            base_wait: self.base.wait,
            shared_label: shared_label.transpose().map_err(RootfsError::SharedLabel)?,
        }))
    }
}
