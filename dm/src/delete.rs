//! The end of a volume: at once, or when the last user of its device is gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::O_EXCL;
use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;

use crate::backing::BackingKind;
use crate::error::Error;
use crate::exclusive_blocks::exclusive_blocks;
use crate::failpoint::step;
use crate::ioctl::discard;
use crate::kernel::{Access, KernelError};
use crate::lock::Lock;
use crate::names::DmIdentity;
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::units::Bytes;

/// What [`Pool::delete`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The volume was there and is gone.
    Deleted,
    /// The volume's device is in use. The volume's name is free; the rest goes when the last user is gone.
    Deferred,
    /// There was no such volume.
    NotThere,
}

impl Pool {
    /// Deactivates the volume and deletes it from pool and store. Snapshots of it stay whole: they share its blocks, they do
    /// not read through it.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is mounted or open; then nothing has changed.
    pub fn delete(&self, name: &VolumeName) -> Result<Deleted, Error> {
        self.delete_by(name, |row| self.erase(row).map(|()| Deleted::Deleted))
    }

    /// As [`delete`](Self::delete), but a volume in use is no error: it loses its name now, the kernel removes the device when
    /// its last user is gone, and the next [`reconcile`](Self::reconcile) or [`open`](Self::open) after that deletes the rest.
    ///
    /// The classic user is a mount that another mount namespace has copied.
    ///
    /// # Errors
    /// The store cannot be written, or the kernel refuses.
    pub fn delete_when_idle(&self, name: &VolumeName) -> Result<Deleted, Error> {
        self.delete_by(name, |row| self.erase_when_idle(row))
    }

    fn delete_by(
        &self,
        name: &VolumeName,
        erase: impl FnOnce(&VolumeRow) -> Result<Deleted, Error>,
    ) -> Result<Deleted, Error> {
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        self.row(name)?.map_or(Ok(Deleted::NotThere), |row| erase(&row))
    }

    /// Deactivates and deletes a volume in whatever phase it is. The caller holds the volume's lock.
    pub(crate) fn erase(&self, row: &VolumeRow) -> Result<(), Error> {
        let (pool, name) = (&self.config.name, &row.name);
        let claimed = self.open_if_unused(row)?;
        if claimed.is_none() {
            self.deactivate_row(row)?;
            step("volume deactivated");
        }
        let pool_lock = self.lock()?;
        self.resume_origin(row)?;
        self.intend_deletion(&pool_lock, |w| w.set_phase(pool, name, Phase::Deleting))?;
        if self.backing.kind != BackingKind::Loop {
            return self.delete_id(row);
        }
        // A discard may take long, so others may change the pool meanwhile; this volume's row keeps its thin id.
        drop(pool_lock);
        self.discard_blocks(row, claimed)?;
        let _pool_lock = self.lock()?;
        // Not if the pool was destroyed meanwhile, and the volume with it.
        match self.row(name)? {
            Some(now) if now.id == row.id && now.phase == Phase::Deleting => self.delete_id(row),
            _ => Ok(()),
        }
    }

    /// The volume's device, open and safe from mounts, if it is there, nobody uses it and it takes a discard: to remove it and
    /// make it again for the discard would double the time of a deletion.
    fn open_if_unused(&self, row: &VolumeRow) -> Result<Option<File>, Error> {
        let identity = self.identity_of(row);
        if self.backing.kind != BackingKind::Loop {
            return Ok(None);
        }
        let Some(device) = self.find_device(&row.name, &identity.name)? else { return Ok(None) };
        let usable = device.live && !device.suspended && device.access == Access::ReadWrite;
        if device.open || device.uuid != identity.uuid || !usable {
            return Ok(None);
        }
        let claim = OpenOptions::new().write(true).custom_flags(O_EXCL).open(device.node());
        Ok(claim.ok())
    }

    /// Resumes the origin of a snapshot whose maker died while it held the origin still: I/O to it has hung since. The caller
    /// holds the pool's lock, and so no living maker holds an origin.
    fn resume_origin(&self, row: &VolumeRow) -> Result<(), Error> {
        let (Phase::Creating, Some(origin)) = (row.phase, &row.origin) else { return Ok(()) };
        let device = self.config.name.device_of(origin);
        let ours =
            |uuid: &str| DmIdentity::id_of(&self.config.name, &self.identity.uuid, uuid).is_some();
        let found = self.find_device(origin, &device)?;
        if !found.is_some_and(|found| found.live && found.suspended && ours(&found.uuid)) {
            return Ok(());
        }
        let (origin, pool) = (origin.clone(), self.config.name.clone());
        tracing::warn!(%origin, %pool, "resuming what a process that died has suspended");
        let resumed = self.kernel.resume(&device).map(drop);
        resumed.map_err(|source| Error::SuspendOrigin { action: "resume", origin, pool, source })
    }

    /// The caller holds the pool's lock.
    fn delete_id(&self, row: &VolumeRow) -> Result<(), Error> {
        let (pool, name) = (&self.config.name, &row.name);
        match self.kernel.message(&self.identity, &format!("delete {}", row.id)) {
            Ok(()) => {}
            // An earlier attempt came as far as here, or its maker died before the pool made it.
            Err(error) if error.errno() == Some(Errno::ENODATA) => {}
            Err(source) => {
                let (volume, pool) = (name.clone(), pool.clone());
                return Err(Error::Delete { volume, id: row.id, pool, source });
            }
        }
        step("id deleted");
        // If a power cut takes this back, the row is one whose thin id is deleted, and is dropped again.
        self.store.write_late(|w| w.drop_volume(pool, name))?;
        step("row dropped");
        Ok(())
    }

    /// Returns the volume's blocks to the file system that the pool's file lies on. Deleting a thin id frees its blocks in the
    /// pool, but discards nothing below; discarding the volume before does both, and leaves alone what a snapshot shares
    /// (thin-provisioning.rst; `process_prepared_discard_passdown_pt1` in dm-thin.c). If it fails, the pool still gets the
    /// blocks back, and only the file keeps them.
    ///
    /// # Errors
    /// [`Error::Busy`]: somebody opened the device meanwhile.
    fn discard_blocks(&self, row: &VolumeRow, claimed: Option<File>) -> Result<(), Error> {
        let ranges = self.exclusive_ranges(row)?;
        let active = claimed.is_some();
        if ranges.is_empty() && !active {
            return Ok(());
        }
        let discarded = claimed.map_or_else(|| self.open_for_discard(row), Ok).and_then(|device| {
            ranges.into_iter().try_for_each(|(from, length)| discard(&device, from, length))
        });
        step("blocks discarded");
        match discarded {
            Ok(()) => {}
            // The file system below cannot punch holes, or the pool has no such id: its maker died before the pool made it.
            Err(error)
                if [Errno::EOPNOTSUPP, Errno::ENODATA]
                    .iter()
                    .any(|errno| error.raw_os_error() == Some(*errno as i32)) => {}
            Err(error) => self.warn_not_discarded(row, &error),
        }
        self.deactivate_row(row)?;
        step("volume deactivated");
        Ok(())
    }

    /// Activates the volume writable, whatever it was, for a sealed volume takes no discard.
    fn open_for_discard(&self, row: &VolumeRow) -> io::Result<File> {
        let _pool_lock = self.lock().map_err(io::Error::other)?;
        let table = row.table(self.running().map_err(io::Error::other)?.0.number);
        let device =
            self.kernel.create(&self.identity_of(row), &table, Access::ReadWrite).map_err(
                |error| error.errno().map_or_else(|| io::Error::other(error), io::Error::from),
            )?;
        OpenOptions::new().write(true).open(device.node())
    }

    /// Where the volume may have blocks that no other volume has, as offsets and lengths. Of a snapshot whose origin is there
    /// and sealed these are the blocks that were written since; of any other volume, all of it: when an origin is gone, its
    /// snapshots own what they shared with it.
    fn exclusive_ranges(&self, row: &VolumeRow) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let all = vec![(Bytes(0), row.size)];
        let origin = row.origin.as_ref().map(|origin| self.row(origin)).transpose()?.flatten();
        // Made before the snapshot, and not later under the same name: ids go up.
        let origin = origin.filter(|o| o.phase == Phase::Ready && o.sealed && o.id < row.id);
        let Some(origin) = origin else { return Ok(all) };
        // Or its last blocks are not on the disk yet.
        let committed = self.kernel.commit(&self.identity.name).map_err(io::Error::other);
        match committed.and_then(|()| exclusive_blocks(&self.backing.metadata, origin.id, row.id)) {
            Ok(ranges) => {
                let bytes = |blocks: u64| Bytes(blocks.saturating_mul(self.block.0));
                Ok(ranges.iter().map(|r| (bytes(r.start), bytes(r.end - r.start))).collect())
            }
            Err(error) => {
                tracing::debug!(volume = %row.name, %error, "discarding all of a snapshot");
                Ok(all)
            }
        }
    }

    fn warn_not_discarded(&self, row: &VolumeRow, error: &dyn std::error::Error) {
        let (volume, pool, data) = (&row.name, &self.config.name, self.backing.data.display());
        tracing::warn!(%volume, %pool, %data, error = %chain(error), "the file keeps the blocks of a deleted volume; the pool uses them again");
    }

    /// As [`erase`](Self::erase), but a volume in use only loses its name, so that another one can have it.
    pub(crate) fn erase_when_idle(&self, row: &VolumeRow) -> Result<Deleted, Error> {
        if row.phase == Phase::Deleting {
            self.rename_device(row)?;
            if self.removal_is_deferred(row)? {
                return Ok(Deleted::Deferred);
            }
        }
        let Err(error) = self.erase(row) else { return Ok(Deleted::Deleted) };
        let Error::Busy { users, .. } = &error else { return Err(error) };
        let (volume, pool) = (&row.name, &self.config.name);
        tracing::warn!(%volume, %pool, %users, "a deleted volume is still in use; it goes when its last user is gone");
        self.defer_removal(row)
    }

    /// The kernel will remove the volume's device when its last user is gone, and he is not.
    pub(crate) fn removal_is_deferred(&self, row: &VolumeRow) -> Result<bool, Error> {
        let found = self.kernel.find_uuid(&self.identity_of(row).uuid).map_err(|source| {
            let (volume, pool) = (row.name.clone(), self.config.name.clone());
            Error::Find { volume, pool, source }
        })?;
        Ok(found.is_some_and(|(_, device)| device.deferred))
    }

    fn defer_removal(&self, row: &VolumeRow) -> Result<Deleted, Error> {
        let (pool, name) = (&self.config.name, &row.name);
        let deferred = VolumeRow {
            name: VolumeName::deferred(row.id.get()),
            phase: Phase::Deleting,
            ..row.clone()
        };
        // Nobody recovers the row under its new name before the device has it too.
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
        let failed =
            |source| Error::Deactivate { volume: name.clone(), pool: pool.clone(), source };
        let gone = self.kernel.remove_when_idle(&self.identity_of(&deferred)).map_err(failed)?;
        step("removal deferred");
        if !gone {
            return Ok(Deleted::Deferred);
        }
        self.erase(&deferred).map(|()| Deleted::Deleted)
    }

    /// Gives the device of a row in phase deleting the row's name: a deferral that was cut short has left it the old one.
    fn rename_device(&self, row: &VolumeRow) -> Result<(), Error> {
        let identity = self.identity_of(row);
        let renamed = self.kernel.find_uuid(&identity.uuid).and_then(|found| match found {
            Some((found, _)) if found != identity.name => {
                self.kernel.rename(&found, &identity.name)
            }
            _ => Ok(()),
        });
        renamed.map_err(|source: KernelError| Error::Deactivate {
            volume: row.name.clone(),
            pool: self.config.name.clone(),
            source,
        })
    }
}
