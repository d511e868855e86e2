//! The thin volumes of snapshots.
//!
//! | snapshot | its volume |
//! |---|---|
//! | active | a snapshot of the parent's volume, active and writable; without a parent, of an empty file system |
//! | committed | sealed; active, read-only, while a view shows it |
//! | view | none: a view shows its parent's volume. If the parent's volume is still in use, a snapshot of it |
//!
//! Whether a volume exists is what the pool's store says, and nothing here remembers it. A half-made volume is undone by
//! `sharedroot-dm`. So there is no second record that could differ from the first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sharedroot_dm::{ActiveVolume, Bytes, Error as DmError, Pool, PoolConfig, Sealed, VolumeName};
use sharedroot_format::TableTag;
use sharedroot_image::make_empty_filesystem;

use crate::error::Error;
use crate::row_locks::RowLock;
use crate::table::RowId;

/// The volumes of one table's snapshots.
#[derive(Debug)]
pub struct Volumes {
    config: PoolConfig,
    tag: TableTag,
    /// The size of a file system that begins empty.
    size: Bytes,
    /// The pool, opened at its first use.
    pool: Mutex<Option<Arc<Pool>>>,
    /// Held while the empty file system is made.
    making_empty: Mutex<()>,
}

/// The device of an active snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writable {
    /// Nobody has it mounted.
    Idle(ActiveVolume),
    /// Somebody has it mounted or open.
    InUse(ActiveVolume),
}

/// What a view shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The device of the parent itself, which is read-only.
    Parent(PathBuf),
    /// The device of a snapshot of the parent.
    Copy(PathBuf),
}

/// How the settling of a committed volume went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The volume is sealed. With its mapped size, if this call measured it.
    Sealed(Option<Bytes>),
    /// The volume is still mounted or open.
    InUse,
}

impl Volumes {
    /// The volumes of the table with this tag. Opens nothing.
    #[must_use]
    pub fn new(config: PoolConfig, size: Bytes, tag: TableTag) -> Self {
        let (pool, making_empty) = (Mutex::new(None), Mutex::new(()));
        Self { config, tag, size, pool, making_empty }
    }

    /// The device of an active snapshot, active. Makes the volume if it does not exist.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Empty`].
    pub fn writable(&self, lock: &RowLock<'_>, parent: Option<RowId>) -> Result<Writable, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if pool.ready(&name)?.is_some() {
            let volume = pool.activate(&name)?;
            let in_use = pool.is_in_use(&name)?;
            return Ok(if in_use { Writable::InUse(volume) } else { Writable::Idle(volume) });
        }
        let origin = self.origin(&pool, parent)?;
        Ok(Writable::Idle(pool.snapshot(&origin, &name)?.keep()?))
    }

    /// The device that a view shows, active. With the lock of the parent, nobody deactivates the parent meanwhile; it stays active
    /// as long as the table has the view's row, which the caller has written.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Empty`].
    pub fn viewed(&self, lock: &RowLock<'_>, parent: Option<&RowLock<'_>>) -> Result<Shown, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if pool.ready(&name)?.is_some() {
            return Ok(Shown::Copy(pool.activate(&name)?.device));
        }
        let origin = self.origin(&pool, parent.map(RowLock::id))?;
        match pool.seal(&origin)? {
            Sealed::Sealed => Ok(Shown::Parent(pool.activate(&origin)?.device)),
            Sealed::InUse => Ok(Shown::Copy(pool.snapshot(&origin, &name)?.keep()?.device)),
        }
    }

    /// Seals the volume of a committed snapshot, and deactivates it unless it is viewed. A volume that does not exist is settled.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn settle(&self, lock: &RowLock<'_>, is_viewed: bool) -> Result<Settled, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        let Some(volume) = pool.ready(&name)? else { return Ok(Settled::Sealed(None)) };
        if volume.sealed {
            return match is_viewed || !volume.active {
                true => Ok(Settled::Sealed(None)),
                false => idle(pool.deactivate(&name)),
            };
        }
        let mapped = pool.mapped(&name)?;
        Ok(match pool.seal(&name)? {
            Sealed::Sealed => Settled::Sealed(mapped),
            Sealed::InUse => Settled::InUse,
        })
    }

    /// Deletes the volume of a removed snapshot. If the volume is still mounted, the kernel removes it after its last user.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn delete(&self, lock: &RowLock<'_>) -> Result<(), Error> {
        self.pool()?.delete_when_idle(&self.name(lock.id()))?;
        Ok(())
    }

    /// What the volume's mappings take; none if it is not active.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn mapped(&self, id: RowId) -> Result<Option<Bytes>, Error> {
        Ok(self.pool()?.mapped(&self.name(id))?)
    }

    /// The rows whose volumes the pool has. None if there is no pool yet; activates nothing.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn existing(&self) -> Result<Vec<RowId>, Error> {
        let Some(pool) = Pool::known(&self.config)? else { return Ok(Vec::new()) };
        let volumes = pool.volumes()?;
        let ids = volumes.iter().filter_map(|volume| volume.name.layer_of(self.tag));
        Ok(ids.map(RowId::new).collect())
    }

    fn name(&self, id: RowId) -> VolumeName {
        VolumeName::of_layer(self.tag, id.get())
    }

    /// The volume of which a new one is a snapshot.
    fn origin(&self, pool: &Pool, parent: Option<RowId>) -> Result<VolumeName, Error> {
        parent.map_or_else(|| self.empty(pool), |parent| Ok(self.name(parent)))
    }

    /// The volume with an empty file system. The first snapshot without a parent makes it.
    fn empty(&self, pool: &Pool) -> Result<VolumeName, Error> {
        let _one = self.making_empty.lock().unwrap_or_else(PoisonError::into_inner);
        let volume = VolumeName::of_empty(self.size.0);
        if pool.ready(&volume)?.is_none() {
            let new = pool.create_volume(&volume, self.size)?;
            let made = make_empty_filesystem(new.device(), new.size().0);
            made.map_err(|source| Error::Empty { volume: volume.clone(), source })?;
            new.seal()?;
        }
        Ok(volume)
    }

    /// The pool, active. A pool that was destroyed and made anew meanwhile is opened anew.
    fn pool(&self) -> Result<Arc<Pool>, Error> {
        let mut known = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*known {
            match pool.begin_use() {
                Ok(()) => return Ok(Arc::clone(pool)),
                Err(DmError::NoPool { .. } | DmError::ForeignDevice { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let pool = Arc::new(Pool::open(&self.config)?);
        *known = Some(Arc::clone(&pool));
        Ok(pool)
    }
}

/// A viewer that has gone from the table may still have the volume mounted for a moment.
fn idle(deactivated: Result<(), DmError>) -> Result<Settled, Error> {
    match deactivated {
        Ok(()) => Ok(Settled::Sealed(None)),
        Err(DmError::Busy { .. }) => Ok(Settled::InUse),
        Err(error) => Err(error.into()),
    }
}
