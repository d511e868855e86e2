//! The thin volumes of snapshots.
//!
//! | snapshot | its volume |
//! |---|---|
//! | active | a snapshot of the parent's volume, active and writable; without a parent, of an empty file system |
//! | active, of a container that shares its root | none: it shows its parent's volume |
//! | committed | sealed; active, read-only, while somebody shows it |
//! | view | none: a view shows its parent's volume. If the parent's volume is still in use, a snapshot of it |
//!
//! A volume that is shown to containers is mounted once, as a base (`sharedroot-bases`, `layer.rs`). The parent here is always the
//! row whose volume has the parent's files, which can be another row than the parent.
//!
//! Whether a volume exists is what the pool's store says, and nothing here remembers it. A half-made volume is undone by
//! `sharedroot-dm`. So there is no second record that could differ from the first.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use sharedroot_bases::{Bases, fit};
use sharedroot_dm::{
    ActiveVolume, Bytes, Error as DmError, Lingering, NewVolume, Pool, Sealed, VolumeName,
};
use sharedroot_format::TableTag;
use sharedroot_image::{make_docker_init_files, make_empty_filesystem};
use sharedroot_label::enabled;
use sharedroot_sys::mount::{self, Access, Setting};

use crate::error::Error;
use crate::row_locks::RowLock;
use crate::table::RowId;
use crate::untouched::is_untouched;
use crate::whole::{Made, check};

/// The volumes of one table's snapshots.
#[derive(Debug)]
pub struct Volumes {
    bases: Bases,
    tag: TableTag,
    /// The pool, opened at its first use.
    pool: Mutex<Option<Arc<Pool>>>,
    /// Held while the empty file system is made.
    making_empty: Mutex<()>,
    /// The volumes that need no check before they are sealed.
    made: Made,
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
    /// The mount of the parent as a base.
    Base(PathBuf),
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
    pub fn new(bases: Bases, tag: TableTag) -> Self {
        let (pool, making_empty) = (Mutex::new(None), Mutex::new(()));
        Self { bases, tag, pool, making_empty, made: Made::default() }
    }

    /// The device of an active snapshot, active, and of `size` at most. Makes the volume if it does not exist. If it is larger,
    /// makes it anew, unless somebody has written to it.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Empty`], [`Error::Bases`]; [`Error::Size`] for a volume that was written to.
    pub fn writable(
        &self,
        lock: &RowLock<'_>,
        parent: Option<RowId>,
        size: Option<Bytes>,
    ) -> Result<Writable, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if let Some(known) = pool.ready(&name)? {
            let wanted = size.filter(|wanted| known.size > *wanted);
            match wanted {
                None => {
                    let volume = pool.activate(&name)?;
                    return Ok(match pool.is_in_use(&name)? {
                        true => Writable::InUse(volume),
                        false => Writable::Idle(volume),
                    });
                }
                Some(_) if self.is_untouched(lock, parent)? => self.drop_untouched(lock)?,
                Some(wanted) => {
                    return Err(Error::Size { volume: name, size: known.size, wanted });
                }
            }
        }
        let origin = self.origin(&pool, parent)?;
        let mut new = pool.snapshot(&origin, &name)?;
        if let Some(size) = size.filter(|size| *size < new.size()) {
            fit(&mut new, size)?;
        }
        let made = new.keep()?;
        self.made.add(lock.id());
        Ok(Writable::Idle(made))
    }

    /// Whether nobody has changed a file of an active snapshot since it was made, and nobody uses its volume. So it can be if there
    /// is no volume.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Compare`].
    pub fn is_untouched(&self, lock: &RowLock<'_>, parent: Option<RowId>) -> Result<bool, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if pool.ready(&name)?.is_none() {
            return Ok(true);
        }
        if pool.is_in_use(&name)? {
            return Ok(false);
        }
        let written = pool.written(&name)?;
        if written.is_empty() {
            return Ok(true);
        }
        let origin = pool.activate(&self.origin(&pool, parent)?)?;
        let own = pool.activate(&name)?;
        is_untouched(&own.device, &origin.device, &written)
            .map_err(|source| Error::Compare { volume: name, source })
    }

    /// Deletes the volume of an active snapshot that [is untouched](Self::is_untouched), if there is one.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn drop_untouched(&self, lock: &RowLock<'_>) -> Result<(), Error> {
        self.pool()?.delete(&self.name(lock.id()))?;
        Ok(())
    }

    /// The place where the volume of a committed row is mounted as a base. Mounts it if it is not. None, with the reason in the
    /// log, if it cannot be shared now: somebody still has it mounted writable, or the policy has no label for it.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn shared(&self, parent: &RowLock<'_>) -> Result<Option<PathBuf>, Error> {
        let (pool, name) = (self.pool()?, self.name(parent.id()));
        if pool.seal(&name)? == Sealed::InUse {
            tracing::info!(volume = %name, "not shared: somebody still has it mounted writable");
            return Ok(None);
        }
        let active = pool.activate(&name)?;
        match self.bases.share_layer(&name, &active) {
            Ok(at) => Ok(Some(at)),
            Err(error) => {
                let why = sharedroot_sys::chain::chain(&error);
                tracing::warn!(volume = %name, "not shared: {why}");
                Ok(None)
            }
        }
    }

    /// Makes the volume with Docker's files above those of `parent`, and seals it, unless it exists.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Init`], [`Error::OwnMount`].
    pub fn ensure_init(&self, lock: &RowLock<'_>, parent: RowId) -> Result<(), Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if pool.ready(&name)?.is_some() {
            return Ok(());
        }
        let new = pool.snapshot(&self.name(parent), &name)?;
        self.make_init_files(&new)?;
        Ok(new.seal()?)
    }

    fn make_init_files(&self, new: &NewVolume<'_>) -> Result<(), Error> {
        // Under the label that the base will have, so that no file gets a label of its own.
        let label = self.bases.labels().shared().ok().flatten();
        let label = label.as_ref().map(|label| label.as_mount_label().as_context());
        let mut options = vec![Setting::Flag("noinit_itable")];
        options.extend(label.map(|label| Setting::Value("context", label)));
        let mounted = mount::block_device("ext4", new.device(), Access::ReadWrite, &options)?;
        let volume = || new.name().clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = rustix::fs::openat(&mounted, ".", flags, Mode::empty());
        let top = top.map_err(|errno| Error::Top { volume: volume(), source: errno.into() })?;
        make_docker_init_files(top.as_fd())
            .map_err(|source| Error::Init { volume: volume(), source })
    }

    /// The device that a view shows, active. With the lock of the parent, nobody deactivates the parent meanwhile; it stays active
    /// as long as the table has the view's row, which the caller has written.
    ///
    /// A file system has one label while it is mounted. So where SELinux is on, and where the parent is a base already, the view
    /// shows the base.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Empty`].
    pub fn viewed(&self, lock: &RowLock<'_>, parent: Option<&RowLock<'_>>) -> Result<Shown, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        if pool.ready(&name)?.is_some() {
            return Ok(Shown::Copy(pool.activate(&name)?.device));
        }
        let origin = self.origin(&pool, parent.map(RowLock::id))?;
        if let Some(parent) = parent
            && (enabled() || self.bases.is_shared_layer(&origin))
            && let Some(at) = self.shared(parent)?
        {
            return Ok(Shown::Base(at));
        }
        match pool.seal(&origin)? {
            Sealed::Sealed => Ok(Shown::Parent(pool.activate(&origin)?.device)),
            Sealed::InUse => Ok(Shown::Copy(pool.snapshot(&origin, &name)?.keep()?.device)),
        }
    }

    /// Seals the volume of a committed snapshot, and deactivates it unless it is shown. A volume that does not exist is settled.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Bases`]; [`Error::NotWhole`] and the other errors of [`check`].
    pub fn settle(&self, lock: &RowLock<'_>, is_shown: bool) -> Result<Settled, Error> {
        let (pool, name) = (self.pool()?, self.name(lock.id()));
        let Some(volume) = pool.ready(&name)? else { return Ok(Settled::Sealed(None)) };
        if volume.sealed {
            if is_shown || !volume.active {
                return Ok(Settled::Sealed(None));
            }
            self.bases.unshare_layer(&name)?;
            return idle(pool.deactivate(&name));
        }
        let mapped = pool.mapped(&name)?;
        if pool.is_in_use(&name)? {
            return Ok(Settled::InUse);
        }
        if let Err(error) = check(&pool, &name, self.made.has(lock.id())) {
            // A client that mounts it meanwhile changes what is checked.
            return if pool.is_in_use(&name)? { Ok(Settled::InUse) } else { Err(error) };
        }
        Ok(match pool.seal(&name)? {
            Sealed::Sealed => {
                self.made.forget(lock.id());
                Settled::Sealed(mapped)
            }
            Sealed::InUse => Settled::InUse,
        })
    }

    /// Whether a committed snapshot is whole for certain. If not, [`settle`](Self::settle) finds out. A volume that does not exist is
    /// for others to refuse.
    ///
    /// # Errors
    /// [`Error::Dm`].
    pub fn is_whole(&self, id: RowId) -> Result<bool, Error> {
        let volume = self.pool()?.ready(&self.name(id))?;
        Ok(volume.is_none_or(|volume| volume.sealed || self.made.has(id)))
    }

    /// Refuses a new snapshot while too many removed ones are still in use, as the runtime does: both use the same pool.
    ///
    /// # Errors
    /// [`Error::ManyInUse`], [`Error::Dm`].
    pub fn check_lingering(&self) -> Result<(), Error> {
        match Lingering::too_many(&self.pool()?.lingering()?) {
            Some((count, users)) => Err(Error::ManyInUse { count, users }),
            None => Ok(()),
        }
    }

    /// Deletes the volume of a removed snapshot. If the volume is still mounted, the kernel removes it after its last user.
    ///
    /// # Errors
    /// [`Error::Dm`], [`Error::Bases`].
    pub fn delete(&self, lock: &RowLock<'_>) -> Result<(), Error> {
        let name = self.name(lock.id());
        self.bases.unshare_layer(&name)?;
        self.pool()?.delete_when_idle(&name, None)?;
        self.made.forget(lock.id());
        Ok(())
    }

    /// What the volume's mappings take, active or not; none if there is no such volume.
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
        let Some(pool) = Pool::known(&self.bases.config().pool)? else { return Ok(Vec::new()) };
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
        let size = self.bases.config().base_size;
        let volume = VolumeName::of_empty(size.0);
        if pool.ready(&volume)?.is_none() {
            let new = pool.create_volume(&volume, size)?;
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
        let pool = Arc::new(Pool::open(&self.bases.config().pool)?);
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
