//! A new volume: created or taken as a snapshot, filled by the caller, and then kept or deleted.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;

use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::Access;
use crate::lock::Lock;
use crate::names::ThinId;
use crate::pool::Pool;
use crate::store::{Phase, VolumeRow};
use crate::transaction::Intent;
use crate::units::Bytes;
use crate::volumes::ActiveVolume;

/// A new volume, active and writable. Dropping this value deletes the volume, unless [`seal`](Self::seal) or
/// [`keep`](Self::keep) was called. If the process dies before, the next use of the pool deletes the volume.
#[derive(Debug)]
#[must_use]
pub struct NewVolume<'p> {
    pool: &'p Pool,
    row: VolumeRow,
    active: Option<ActiveVolume>,
    /// Held as long as this value lives, to show that the process that creates the volume lives. `None` after the commit.
    lock: Option<Lock>,
}

/// What a new volume is after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Sealed,
    Writable,
}

impl Pool {
    /// Creates an empty volume of `size`, rounded up to whole blocks, and activates it writable.
    ///
    /// If a process died while it created or deleted a volume of this name, its remains are deleted first.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::VolumeLocked`]; [`Error::Full`] if the pool is fuller than the configuration allows.
    pub fn create_volume(&self, name: &VolumeName, size: Bytes) -> Result<NewVolume<'_>, Error> {
        let size = self.whole_blocks(name, size)?;
        let lock = self.lock_name(name)?;
        self.create_or_snapshot(lock, name, size, None)
    }

    /// Takes a snapshot of `origin`, with the origin's size, and activates the snapshot writable.
    ///
    /// An active origin that is not sealed is suspended meanwhile. Otherwise the snapshot would be inconsistent, and the kernel
    /// does not prevent that (thin-provisioning.rst, "Internal snapshots").
    ///
    /// # Errors
    /// As [`Pool::create_volume`], and as [`Pool::activate`] for the origin.
    pub fn snapshot(&self, origin: &VolumeName, name: &VolumeName) -> Result<NewVolume<'_>, Error> {
        let from = self.ready_row(origin)?;
        let lock = self.lock_name(name)?;
        // The lock keeps other processes from activating or deleting an unsealed origin meanwhile.
        let _origin = match from.sealed {
            true => None,
            false => Some(Lock::volume(&self.config.run_dir, &self.config.name, origin)?),
        };
        self.create_or_snapshot(lock, name, from.size, Some(origin))
    }

    /// Takes the lock of a new volume's name, and makes sure that the store has no row of that name.
    fn lock_name(&self, name: &VolumeName) -> Result<Lock, Error> {
        let (volume, pool) = (name.clone(), self.config.name.clone());
        let lock = Lock::volume(&self.config.run_dir, &pool, name)?;
        match self.row(name)? {
            Some(row) if row.phase == Phase::Ready => return Err(Error::Exists { volume, pool }),
            Some(row) => {
                tracing::warn!(%volume, %pool, phase = ?row.phase, "deleting a volume that a process that died has left half created or half deleted");
                self.delete_row_when_unused(&row, None)?;
            }
            None => {}
        }
        Ok(lock)
    }

    fn create_or_snapshot(
        &self,
        lock: Lock,
        name: &VolumeName,
        size: Bytes,
        origin: Option<&VolumeName>,
    ) -> Result<NewVolume<'_>, Error> {
        let pool = &self.config.name;
        let pool_lock = self.lock()?;
        let recorded = self.intend(&pool_lock, |w, made| {
            let from = origin.map(|origin| {
                let gone = || Error::NoVolume { volume: origin.clone(), pool: pool.clone() };
                w.volume(pool, &self.identity.uuid, origin)?
                    .filter(|row| row.phase == Phase::Ready)
                    .ok_or_else(gone)
            });
            let id = w
                .next_id(pool, ThinId::MAX)?
                .ok_or_else(|| Error::NoThinId { name: pool.clone() })?;
            let (name, origin) = (name.clone(), origin.cloned());
            let (phase, sealed) = (Phase::Creating, false);
            let row = VolumeRow { name, id, size, origin, phase, sealed, made, was: None };
            w.put_volume(pool, &row)?;
            Ok((from.transpose()?, row))
        });
        let (intent, (from, row)) = recorded?;
        let (id, identity, table) = (row.id, self.identity_of(&row), row.table(intent.pool));
        let mut new = NewVolume { pool: self, row, active: None, lock: Some(lock) };

        let volume = name.clone();
        let made = match from {
            None => {
                self.act_creating(intent, id, &format!("create_thin {id}")).and_then(|answer| {
                    answer.map_err(|source| Error::Create {
                        volume,
                        id,
                        pool: pool.clone(),
                        source,
                    })
                })
            }
            Some(from) => self.take_snapshot(intent, &from, &new.row),
        };
        let started = made.and_then(|()| {
            match self.kernel.create(&identity, &table, Access::ReadWrite) {
                // A device of this name exists.
                Err(error) if error.errno() == Some(Errno::EBUSY) => Ok(None),
                created => {
                    created.map(Some).map_err(|source| self.activation_error(&new.row, source))
                }
            }
        });
        // Released before `new` can be dropped, because dropping `new` takes the pool's lock.
        drop(pool_lock);
        let device = match started? {
            Some(device) => device,
            None => self.ensure_active(&new.row)?,
        };
        new.active = Some(ActiveVolume::from(&device));
        Ok(new)
    }

    /// Takes the snapshot. The origin is suspended meanwhile if somebody may write it.
    fn take_snapshot(
        &self,
        intent: Intent,
        from: &VolumeRow,
        snapshot: &VolumeRow,
    ) -> Result<(), Error> {
        let (id, volume) = (snapshot.id, snapshot.name.clone());
        let suspended = self.suspend_origin(from)?;
        let answer = self.act_creating(intent, id, &format!("create_snap {id} {}", from.id));
        let (origin, pool) = (from.name.clone(), self.config.name.clone());
        let resumed = suspended
            .map_or(Ok(()), |suspended| suspended.resume().inspect(|()| step("origin resumed")));
        answer?.map_err(|source| match source.errno() {
            Some(Errno::ENODATA) => self.activation_error(from, source),
            _ => Error::Snapshot { origin: origin.clone(), volume, id, pool: pool.clone(), source },
        })?;
        resumed.map_err(|source| Error::SuspendOrigin { action: "resume", origin, pool, source })
    }

    /// Suspends an origin that somebody may write.
    fn suspend_origin(
        &self,
        origin: &VolumeRow,
    ) -> Result<Option<crate::kernel::Suspended<'_>>, Error> {
        if origin.sealed || self.device_of(origin)?.is_none() {
            return Ok(None);
        }
        let device = self.identity_of(origin).name;
        let (origin, pool) = (origin.name.clone(), self.config.name.clone());
        let suspended = self.kernel.suspend(&device).inspect(|_| step("origin suspended"));
        suspended.map(Some).map_err(|source| Error::SuspendOrigin {
            action: "suspend",
            origin,
            pool,
            source,
        })
    }
}

impl NewVolume<'_> {
    /// The volume's name.
    pub fn name(&self) -> &VolumeName {
        &self.row.name
    }

    /// The volume's size.
    pub fn size(&self) -> Bytes {
        self.row.size
    }

    /// The volume's device, `/dev/dm-N`.
    pub fn device(&self) -> &Path {
        &self.active().device
    }

    /// The volume's device and its numbers.
    pub fn active(&self) -> &ActiveVolume {
        self.active.as_ref().expect("a volume leaves `create_or_snapshot` active")
    }

    /// `size` rounded down to whole blocks.
    pub fn whole_blocks_within(&self, size: Bytes) -> Bytes {
        size.round_down(self.pool.block)
    }

    /// Makes the volume smaller: to `size`, rounded up to whole blocks. After that the volume can never use more of the pool.
    /// Nobody uses the device meanwhile, and data beyond the new size is lost.
    ///
    /// [`keep`](Self::keep) and [`seal`](Self::seal) write the size to the store.
    ///
    /// # Errors
    /// [`Error::Size`] if the volume is smaller than `size`; [`Error::Activate`] if the kernel refuses the table.
    pub fn shrink(&mut self, size: Bytes) -> Result<(), Error> {
        let size = self.pool.whole_blocks(&self.row.name, size)?;
        if size > self.row.size {
            return Err(Error::Size { volume: self.row.name.clone(), size });
        }
        let row = VolumeRow { size, ..self.row.clone() };
        let _pool_lock = self.pool.lock()?;
        let table = row.table(self.pool.running()?.0.number);
        let device = self.pool.identity_of(&row).name;
        let reloaded = self.pool.kernel.reload(&device, &table, Access::ReadWrite);
        reloaded.map_err(|source| self.pool.activation_error(&row, source))?;
        self.row = row;
        Ok(())
    }

    /// Flushes the volume to the disk, deactivates it and seals it. A sealed volume never changes again: it is activated
    /// read-only, and a snapshot of it needs no suspend.
    ///
    /// # Errors
    /// [`Error::Flush`], or [`Error::Busy`] if the device is still in use. Then the volume is deleted.
    pub fn seal(self) -> Result<(), Error> {
        let (volume, pool) = (self.row.name.clone(), self.pool.config.name.clone());
        let flushed = File::open(self.device()).and_then(|device| device.sync_all());
        flushed.map_err(|source| Error::Flush { volume, pool, source })?;
        step("volume flushed");
        self.pool.deactivate_row(&self.row)?;
        step("volume deactivated");
        self.commit(Committed::Sealed).map(drop)
    }

    /// Commits the volume and leaves it active and writable.
    ///
    /// # Errors
    /// The store cannot be written. Then the volume is deleted.
    pub fn keep(self) -> Result<ActiveVolume, Error> {
        self.commit(Committed::Writable)
    }

    fn commit(mut self, committed: Committed) -> Result<ActiveVolume, Error> {
        let (pool, name) = (&self.pool.config.name, &self.row.name);
        self.pool.store.write(|w| {
            w.set_size(pool, name, self.row.size)?;
            if committed == Committed::Sealed {
                w.set_sealed(pool, name)?;
            }
            w.set_phase(pool, name, Phase::Ready)
        })?;
        step(match committed {
            Committed::Sealed => "volume sealed",
            Committed::Writable => "volume kept",
        });
        self.lock = None;
        let device = PathBuf::from(self.device());
        let ActiveVolume { major, minor, .. } = *self.active();
        Ok(ActiveVolume { device, major, minor })
    }
}

impl Drop for NewVolume<'_> {
    fn drop(&mut self) {
        let Some(_lock) = self.lock.take() else { return };
        if let Err(error) = self.pool.delete_row_when_unused(&self.row, None) {
            let (volume, pool) = (&self.row.name, &self.pool.config.name);
            tracing::warn!(%volume, %pool, error = %chain(&error), "cannot delete a half-created volume; the next use of the pool deletes it");
        }
    }
}
