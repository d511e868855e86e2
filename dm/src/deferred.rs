//! Volumes deleted while their device is in use. A container's root can be in use after the container's end: by a copy of its
//! mount in another mount namespace, or by a descriptor that a process of another container got.
//!
//! Such a user must not keep the volume: a container that starts again and again would leave one volume more at each end, each
//! as large as it can be. So the device loses the volume, and only the device stays until its last user has gone.
//!
//! | step | why in this order |
//! |---|---|
//! | the row gets the name `deleted.ID` and phase deleting | another volume can have the old name |
//! | the device gets that name, too | |
//! | the file system on the device is shut down | who chose that the host panics at an error of that file system cannot have errors any more (`mount::shut_down_ext4`) |
//! | the device gets a table of the target `error`, which fails every request (dm-target.c) | the thin target is gone, so nobody has the thin id open |
//! | the thin id is deleted, and its blocks are free | the kernel refuses that while a device has the thin id open |
//! | the kernel is asked to remove the device after its last user | a device that has this mark needs no other step |
//!
//! If the file system cannot be shut down, the device keeps its table, and the volume its blocks, until the last user has gone.
//!
//! The row stays as long as the device. It keeps the thin id from being given to another volume, whose device would need the
//! same uuid. [`Pool::delete`] of an unused volume on a loop file first discards the blocks; here the pool gets the blocks
//! back, and the file keeps them for the pool's next volumes: a discard would need a second device of the thin id.

use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::shut_down_ext4;

use crate::delete::Deleted;
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::{Device, KernelError, Table};
use crate::lock::Lock;
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::users::Users;

/// The most devices of deleted volumes with which a caller may make another volume that a container gets. Each takes some
/// 0.4 MB of the kernel's memory, which belongs to no container.
const MOST_LINGERING: usize = 64;

/// A device that has lost its deleted volume, and that somebody still has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lingering {
    /// The name of the device's row: `deleted.` and the thin id.
    pub name: VolumeName,
    /// The volume's name before it was deleted. None if an earlier version deleted the volume.
    pub was: Option<VolumeName>,
    device: Device,
}

impl Lingering {
    /// How many devices there are, and who has the first one open, if there are so many that no container may get another volume.
    #[must_use]
    pub fn too_many(all: &[Self]) -> Option<(usize, Users)> {
        let first = all.first().filter(|_| all.len() >= MOST_LINGERING)?;
        Some((all.len(), first.users()))
    }

    /// Who has the device open. The search takes up to about a second.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::of(self.device.number)
    }
}

impl Pool {
    /// The devices of deleted volumes that somebody still has open.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn lingering(&self) -> Result<Vec<Lingering>, Error> {
        let mut found = Vec::new();
        for row in self.store.unfinished(&self.config.name)? {
            if row.is_deferred()
                && let Some(device) = self.device_by_uuid(&row)?
            {
                found.push(Lingering { name: row.name, was: row.was, device });
            }
        }
        Ok(found)
    }

    /// As [`delete_row`](Self::delete_row), but a volume in use loses its name and its device, so that another volume can have
    /// the name and the pool has the blocks. `context` is the label with which the volume may be mounted.
    pub(crate) fn delete_row_when_unused(
        &self,
        row: &VolumeRow,
        context: Option<&str>,
    ) -> Result<Deleted, Error> {
        if row.phase == Phase::Deleting {
            self.rename_device(row)?;
            if self.removal_is_deferred(row)? {
                return Ok(Deleted::Deferred);
            }
        }
        match self.delete_row(row) {
            Err(Error::Busy { .. }) => self.defer_removal(row, context),
            deleted => deleted.map(|()| Deleted::Deleted),
        }
    }

    /// Warns that a deleted volume is still in use. Only after the deletion: an engine may kill a process that searches for the
    /// users, and then the volume must be gone.
    pub(crate) fn warn_of_users(&self, volume: &VolumeName) {
        let lingering = self.lingering().unwrap_or_default();
        let Some(own) = lingering.iter().find(|one| one.was.as_ref() == Some(volume)) else {
            return;
        };
        let (users, pool) = (own.users(), &self.config.name);
        tracing::warn!(%volume, %pool, %users, "a deleted volume is still in use; its users get errors from now on, and its device is removed when the last of them is gone");
    }

    /// Whether the volume's device still has a user, and the kernel will remove it when the last user has gone.
    pub(crate) fn removal_is_deferred(&self, row: &VolumeRow) -> Result<bool, Error> {
        Ok(self.device_by_uuid(row)?.is_some_and(|device| device.deferred))
    }

    fn device_by_uuid(&self, row: &VolumeRow) -> Result<Option<Device>, Error> {
        let found = self.kernel.find_uuid(&self.identity_of(row).uuid).map_err(|source| {
            let (volume, pool) = (row.name.clone(), self.config.name.clone());
            Error::Find { volume, pool, source }
        })?;
        Ok(found.map(|(_, device)| device))
    }

    fn defer_removal(&self, row: &VolumeRow, context: Option<&str>) -> Result<Deleted, Error> {
        let (pool, name) = (&self.config.name, &row.name);
        let new_name = VolumeName::deferred(row.id.get());
        let was = if *name == new_name { row.was.clone() } else { Some(name.clone()) };
        let deferred = VolumeRow { name: new_name, phase: Phase::Deleting, was, ..row.clone() };
        // The lock of the new name keeps other processes from recovering the row before the device has the new name, too.
        let _other = match *name == deferred.name {
            true => None,
            false => Some(Lock::volume(&self.config.run_dir, pool, &deferred.name)?),
        };
        self.store.write(|w| {
            w.drop_volume(pool, name)?;
            w.put_volume(pool, &deferred)
        })?;
        step("deferral recorded");
        self.rename_device(&deferred)?;
        step("device renamed");
        if self.shut_down_file_system(&deferred, context)? {
            // Under this lock nobody suspends the pool, which suspends its volumes.
            let pool_lock = self.lock()?;
            self.cut_off(&deferred)?;
            self.intend_deletion(&pool_lock, |_| Ok(()))?;
            self.delete_thin_id(&deferred)?;
        }
        let gone = self
            .kernel
            .remove_when_idle(&self.identity_of(&deferred))
            .map_err(|source| self.not_deactivated(row, source))?;
        step("removal deferred");
        if !gone {
            return Ok(Deleted::Deferred);
        }
        self.delete_row(&deferred).map(|()| Deleted::Deleted)
    }

    /// Whether no user of the volume's device can make errors of its file system any more.
    fn shut_down_file_system(&self, row: &VolumeRow, context: Option<&str>) -> Result<bool, Error> {
        let Some(device) = self.device_by_uuid(row)? else { return Ok(true) };
        let shut = shut_down_ext4(&device.node(), context);
        step("file system shut down");
        if let Err(error) = &shut {
            let (volume, pool) = (&row.name, &self.config.name);
            tracing::warn!(%volume, %pool, error = %chain(error), "the file system of a deleted volume cannot be shut down; the volume keeps its blocks until its last user has gone");
        }
        Ok(shut.is_ok())
    }

    /// Gives the volume's device a table that fails every request.
    fn cut_off(&self, row: &VolumeRow) -> Result<(), Error> {
        if self.device_by_uuid(row)?.is_none() {
            return Ok(());
        }
        let sectors = row.size.sectors();
        let table = Table { sectors, target: "error", params: String::new() };
        let device = self.identity_of(row).name;
        let replaced = self.kernel.replace(&device, &table, row.access());
        replaced.map_err(|source| self.not_deactivated(row, source))
    }

    /// Gives the device of a row in phase deleting the name of the row. After an interrupted deferral the device still has the
    /// old name.
    fn rename_device(&self, row: &VolumeRow) -> Result<(), Error> {
        let identity = self.identity_of(row);
        let renamed = self.kernel.find_uuid(&identity.uuid).and_then(|found| match found {
            Some((found, _)) if found != identity.name => {
                self.kernel.rename(&found, &identity.name)
            }
            _ => Ok(()),
        });
        renamed.map_err(|source| self.not_deactivated(row, source))
    }

    fn not_deactivated(&self, row: &VolumeRow, source: KernelError) -> Error {
        Error::Deactivate { volume: row.name.clone(), pool: self.config.name.clone(), source }
    }
}
