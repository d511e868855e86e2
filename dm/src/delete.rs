//! Volumes deleted. `deferred.rs` has what becomes of a volume that is in use.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::O_EXCL;
use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;

use crate::backing::BackingKind;
use crate::error::Error;
use crate::exclusive_blocks::{exclusive_blocks, written_blocks};
use crate::failpoint::step;
use crate::ioctl::discard;
use crate::kernel::Access;
use crate::lock::Lock;
use crate::names::{DmIdentity, ThinId};
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::units::Bytes;

/// The result of [`Pool::delete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The volume existed and is deleted.
    Deleted,
    /// The volume's device is in use. The volume is deleted, and its name and its blocks are free. The kernel removes the device
    /// after its last user has gone. Until then each user gets errors.
    Deferred,
    /// There was no such volume.
    NotThere,
}

impl Pool {
    /// Deactivates the volume and deletes it from the pool and the store. Snapshots of the volume stay complete: a snapshot
    /// shares blocks with its origin, and does not read through the origin.
    ///
    /// # Errors
    /// [`Error::Busy`] if the volume is mounted or open; then nothing has changed.
    pub fn delete(&self, name: &VolumeName) -> Result<Deleted, Error> {
        self.delete_by(name, |row| self.delete_row(row).map(|()| Deleted::Deleted))
    }

    /// As [`delete`](Self::delete), but a volume in use is no error. Such a volume is deleted under its users, who get errors
    /// from now on. The kernel removes its device when the last user has gone, and the next [`reconcile`](Self::reconcile) or
    /// [`open`](Self::open) forgets it. [`lingering`](Self::lingering) has the devices that still have users.
    ///
    /// `context` is the label (the mount option of SELinux) with which the volume may be mounted: the volume's file system is
    /// shut down before its disk goes.
    ///
    /// A typical user is a copy of a mount in another mount namespace. Whatever the caller wants of the volume's content must be
    /// elsewhere before this call.
    ///
    /// # Errors
    /// [`Error::VolumeLocked`], or the store cannot be written, or the kernel refuses.
    pub fn delete_when_idle(
        &self,
        name: &VolumeName,
        context: Option<&str>,
    ) -> Result<Deleted, Error> {
        let deleted = self.delete_by(name, |row| self.delete_row_when_unused(row, context))?;
        if deleted == Deleted::Deferred {
            self.warn_of_users(name);
        }
        Ok(deleted)
    }

    fn delete_by(
        &self,
        name: &VolumeName,
        delete: impl FnOnce(&VolumeRow) -> Result<Deleted, Error>,
    ) -> Result<Deleted, Error> {
        let _lock = Lock::volume(&self.config.run_dir, &self.config.name, name)?;
        self.row(name)?.map_or(Ok(Deleted::NotThere), |row| delete(&row))
    }

    /// Deactivates and deletes a volume in any phase. The caller holds the volume's lock.
    pub(crate) fn delete_row(&self, row: &VolumeRow) -> Result<(), Error> {
        let (pool, name) = (&self.config.name, &row.name);
        let claimed = self.open_if_unused(row)?;
        if claimed.is_none() {
            self.deactivate_row(row)?;
            step("volume deactivated");
        }
        let pool_lock = self.lock()?;
        self.resume_origin(row)?;
        self.intend_deletion(&pool_lock, |w| w.set_phase(pool, name, Phase::Deleting))?;
        // The thin id of a deferred row is deleted already, or was not in use by anything but the device that is gone.
        if self.backing.kind != BackingKind::Loop || row.is_deferred() {
            return self.delete_id(row);
        }
        // A discard may take long, so the pool's lock is released for other changes. The volume's row keeps the thin id
        // meanwhile.
        drop(pool_lock);
        self.discard_blocks(row, claimed)?;
        let _pool_lock = self.lock()?;
        // Another process may have destroyed the pool meanwhile, and the volume with it.
        match self.row(name)? {
            Some(now) if now.id == row.id && now.phase == Phase::Deleting => self.delete_id(row),
            _ => Ok(()),
        }
    }

    /// Opens the volume's device exclusively, so that nobody can mount it. `None` if the volume is not active, or its device is
    /// in use or takes no discard.
    ///
    /// The open device is used for the discard: to remove the device and to create it again for the discard would double the
    /// time of a deletion.
    fn open_if_unused(&self, row: &VolumeRow) -> Result<Option<File>, Error> {
        let identity = self.identity_of(row);
        if self.backing.kind != BackingKind::Loop || row.is_deferred() {
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

    /// Resumes the origin of a half-created snapshot, if the process that took the snapshot died while the origin was
    /// suspended. I/O to such an origin hangs. The caller holds the pool's lock, so no living process has suspended an origin.
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
        tracing::warn!(%origin, %pool, "resuming an origin that a process that died has suspended");
        let resumed = self.kernel.resume(&device).map(drop);
        resumed.map_err(|source| Error::SuspendOrigin { action: "resume", origin, pool, source })
    }

    /// Deletes the volume's thin id. The caller holds the pool's lock.
    pub(crate) fn delete_thin_id(&self, row: &VolumeRow) -> Result<(), Error> {
        match self.kernel.message(&self.identity, &format!("delete {}", row.id)) {
            Ok(()) => {}
            // An earlier deletion came as far as here, or the process that created the volume died before the thin id existed.
            Err(error) if error.errno() == Some(Errno::ENODATA) => {}
            Err(source) => {
                let (volume, pool) = (row.name.clone(), self.config.name.clone());
                return Err(Error::Delete { volume, id: row.id, pool, source });
            }
        }
        step("id deleted");
        Ok(())
    }

    /// Deletes the volume's thin id and then its row. The caller holds the pool's lock.
    fn delete_id(&self, row: &VolumeRow) -> Result<(), Error> {
        let (pool, name) = (&self.config.name, &row.name);
        self.delete_thin_id(row)?;
        // A power cut may bring the row back. Then the thin id does not exist, and the row is dropped again.
        self.store.write_late(|w| w.drop_volume(pool, name))?;
        step("row dropped");
        Ok(())
    }

    /// Returns the volume's blocks to the file system of the pool's loop file.
    ///
    /// When the kernel deletes a thin id, it frees the blocks in the pool, but does not discard them in the loop file. A
    /// discard of the volume does both, and keeps the blocks that another volume shares (thin-provisioning.rst;
    /// `process_prepared_discard_passdown_pt1` in dm-thin.c). If the discard fails, the pool still gets the blocks back, and
    /// only the file keeps them.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody opened the device meanwhile.
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
            // EOPNOTSUPP: the file system of the loop file cannot punch holes. ENODATA: the pool does not have the thin id,
            // because the process that created the volume died before.
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

    /// Activates the volume writable, even if it is sealed, because a read-only device takes no discard.
    fn open_for_discard(&self, row: &VolumeRow) -> io::Result<File> {
        let _pool_lock = self.lock().map_err(io::Error::other)?;
        let table = row.table(self.running().map_err(io::Error::other)?.0.number);
        let device =
            self.kernel.create(&self.identity_of(row), &table, Access::ReadWrite).map_err(
                |error| error.errno().map_or_else(|| io::Error::other(error), io::Error::from),
            )?;
        OpenOptions::new().write(true).open(device.node())
    }

    /// The offsets and lengths where the volume may have exclusive blocks. For a snapshot whose origin exists and is sealed,
    /// these are the blocks that were written since it was taken. For any other volume this is the whole volume: after an
    /// origin is deleted, the blocks that it shared with one snapshot belong to the snapshot alone.
    fn exclusive_ranges(&self, row: &VolumeRow) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.ranges_by(row, exclusive_blocks)
    }

    /// The parts of a snapshot's device, in bytes, that may have been written since the snapshot was taken. This is the whole
    /// device if nobody can tell: the snapshot's origin was deleted, or LVM has the pool. The kernel may write more of what a
    /// file system has in memory after this call.
    ///
    /// # Errors
    /// [`Error::NoVolume`]; [`Error::Unfinished`] or [`Error::VolumeLocked`] if the volume is not complete.
    pub fn written(&self, name: &VolumeName) -> Result<Vec<Range<u64>>, Error> {
        let ranges = self.ranges_by(&self.ready_row(name)?, written_blocks)?;
        let range = |(from, length): (Bytes, Bytes)| from.0..from.0.saturating_add(length.0);
        Ok(ranges.into_iter().map(range).collect())
    }

    fn ranges_by(
        &self,
        row: &VolumeRow,
        blocks: impl Fn(&Path, ThinId, ThinId) -> io::Result<Vec<Range<u64>>>,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let all = vec![(Bytes(0), row.size)];
        let origin = row.origin.as_ref().map(|origin| self.row(origin)).transpose()?.flatten();
        // Thin ids go up. So an origin with a larger id was created later, under the name of the deleted origin.
        let origin = origin.filter(|o| o.phase == Phase::Ready && o.sealed && o.id < row.id);
        let Some(origin) = origin else { return Ok(all) };
        // Without a commit the mappings of the last written blocks may not be on the disk.
        let committed = self.kernel.commit(&self.identity.name).map_err(io::Error::other);
        match committed.and_then(|()| blocks(&self.backing.metadata, origin.id, row.id)) {
            Ok(ranges) => {
                let bytes = |blocks: u64| Bytes(blocks.saturating_mul(self.block.0));
                Ok(ranges.iter().map(|r| (bytes(r.start), bytes(r.end - r.start))).collect())
            }
            Err(error) => {
                tracing::debug!(volume = %row.name, %error, "cannot read the exclusive blocks of a snapshot; taking the whole snapshot");
                Ok(all)
            }
        }
    }

    fn warn_not_discarded(&self, row: &VolumeRow, error: &dyn std::error::Error) {
        let (volume, pool, data) = (&row.name, &self.config.name, self.backing.data.display());
        tracing::warn!(%volume, %pool, %data, error = %chain(error), "cannot discard the blocks of a deleted volume; the pool uses them again, but the file keeps them");
    }
}
