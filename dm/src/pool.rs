//! A pool: found in the kernel, asked for its status.

use std::path::Path;

use sharedroot_format::PoolName;

use crate::backing::{BackingKind, PoolBacking};
use crate::config::PoolConfig;
use crate::error::Error;
use crate::kernel::{Device, Kernel};
use crate::lock::Lock;
use crate::names::DmIdentity;
use crate::status::{PoolMode, PoolStatus, StatusLine};
use crate::store::Store;
use crate::units::Bytes;

/// A thin pool. Many threads and many processes can use the same pool at once.
#[derive(Debug)]
pub struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) identity: DmIdentity,
    pub(crate) kernel: Kernel,
    pub(crate) store: Store,
    pub(crate) backing: PoolBacking,
    pub(crate) block: Bytes,
}

impl Pool {
    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.config.name
    }

    /// The file or device of the data. For a pool of LVM, the pool's node.
    pub fn data_path(&self) -> &Path {
        &self.backing.data
    }

    /// The file or device of the metadata. For a pool of LVM, the pool's node.
    pub fn metadata_path(&self) -> &Path {
        &self.backing.metadata
    }

    /// Whether the pool is one of LVM, which LVM activates and deactivates.
    pub fn is_of_lvm(&self) -> bool {
        self.backing.kind == BackingKind::Lvm
    }

    /// Whether the pool is active and not suspended.
    ///
    /// # Errors
    /// The kernel does not answer, or [`Error::ForeignDevice`].
    pub fn is_active(&self) -> Result<bool, Error> {
        Ok(self.find()?.is_some_and(|device| device.live && !device.suspended))
    }

    /// The pool's status in the kernel and the store. Changes nothing. The figures may be one transaction old, because the
    /// status call does not commit the metadata.
    ///
    /// # Errors
    /// The pool is not active, or its status line cannot be parsed.
    pub fn status(&self) -> Result<PoolStatus, Error> {
        let mut status = PoolStatus {
            name: self.config.name.clone(),
            mode: PoolMode::Fail,
            needs_check: true,
            data: None,
            metadata: None,
            block: self.block,
            metadata_block: PoolStatus::METADATA_BLOCK,
            transaction_id: None,
            volumes: self.store.volumes(&self.config.name)?.len() as u64,
            data_path: self.backing.data.clone(),
            metadata_path: self.backing.metadata.clone(),
            on_loop: self.backing.kind == BackingKind::Loop,
        };
        if let StatusLine::Working(working) = self.status_line()? {
            status.mode = working.mode;
            status.needs_check = working.needs_check;
            status.data = Some(working.data);
            status.metadata = Some(working.metadata);
            status.transaction_id = Some(working.transaction_id);
        }
        Ok(status)
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        Lock::pool(&self.config.run_dir, &self.config.name)
    }

    /// The pool's device; `None` if the pool is not active.
    ///
    /// # Errors
    /// [`Error::ForeignDevice`] if the device belongs to another pool.
    pub(crate) fn find(&self) -> Result<Option<Device>, Error> {
        let name = &self.config.name;
        let found = self
            .kernel
            .find(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        found.map(|device| self.verify_uuid(device)).transpose()
    }

    pub(crate) fn status_line(&self) -> Result<StatusLine, Error> {
        self.running().map(|(_, line)| line)
    }

    /// The pool's device and its status line, from one call of the kernel.
    pub(crate) fn running(&self) -> Result<(Device, StatusLine), Error> {
        let name = &self.config.name;
        let (device, line) = self
            .kernel
            .status(&self.identity.name)
            .map_err(|source| Error::PoolStatus { name: name.clone(), source })?;
        let device = self.verify_uuid(device)?;
        let line =
            line.parse().map_err(|source| Error::StatusLine { name: name.clone(), source })?;
        Ok((device, line))
    }

    fn verify_uuid(&self, device: Device) -> Result<Device, Error> {
        match device.uuid == self.identity.uuid {
            true => Ok(device),
            false => Err(Error::ForeignDevice {
                name: self.config.name.clone(),
                device: self.identity.name.clone(),
                uuid: device.uuid,
            }),
        }
    }
}
