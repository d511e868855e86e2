//! The calls of containerd: each one changes a row, makes or finds a volume, and leaves the rest to the queue.
//!
//! Nothing here is asynchronous. A call may wait for the disk and for device-mapper, so it runs on a thread of its own.

use std::collections::BTreeMap;

use sharedroot_dm::Bytes;
use sharedroot_sys::chain::chain;
use sharedroot_task::messages::task::Mount;

use crate::error::Error;
use crate::filter::Filters;
use crate::hints::{Access, Hints, Wish, size_of_label};
use crate::key::{Key, Space};
use crate::mounts::{Journal, bind, read_only, shared, writable};
use crate::own_mounts::OwnMounts;
use crate::row_locks::{RowLock, RowLocks};
use crate::signal::Signal;
use crate::table::{
    Commit, Info, Item, Kind, New, Parent, Row, RowId, Table, TableError, What, Work,
};
use crate::volumes::{Settled, Volumes, Writable};

/// The snapshots of all spaces.
#[derive(Debug)]
pub struct Snapshots {
    table: Table,
    volumes: Volumes,
    own_mounts: OwnMounts,
    hints: Hints,
    locks: RowLocks,
    queue: Signal,
}

/// What became of the work of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// All work is done.
    Done,
    /// Some must be tried again later.
    Rest,
}

impl Snapshots {
    /// The snapshots of a table.
    #[must_use]
    pub fn new(table: Table, volumes: Volumes, own_mounts: OwnMounts, hints: Hints) -> Self {
        let (locks, queue) = (RowLocks::default(), Signal::default());
        Self { table, volumes, own_mounts, hints, locks, queue }
    }

    /// Makes a snapshot that is written.
    ///
    /// # Errors
    /// [`Error`]; then there is no snapshot.
    pub fn prepare(&self, new: New<'_>) -> Result<Mount, Error> {
        self.make(Kind::Active, new)
    }

    /// Makes a snapshot that is read only.
    ///
    /// # Errors
    /// [`Error`]; then there is no snapshot.
    pub fn view(&self, new: New<'_>) -> Result<Mount, Error> {
        self.make(Kind::View, new)
    }

    /// The row comes first: a volume without a row would be nobody's. If the process ends before the answer, the client never
    /// heard of the row, and removes it.
    fn make(&self, kind: Kind, new: New<'_>) -> Result<Mount, Error> {
        let row = self.table.create(kind, new)?;
        // No engine has a record of a snapshot that it does not have yet.
        let wish = Wish { size: size_of_label(&row.name, new.labels), ..Wish::default() };
        // An image can be unpacked at any time: no container runs there.
        let allowed = match row.name.is_extraction() {
            true => Ok(()),
            false => self.volumes.check_lingering(),
        };
        allowed.and_then(|()| self.mount_of(&row, &wish)).inspect_err(|_| {
            if let Err(error) = self.table.undo(row.id) {
                tracing::warn!(key = %row.name, "cannot take back a snapshot that could not be made: {}", chain(&error));
            }
            self.queue.raise();
        })
    }

    /// How a snapshot that is written or viewed is mounted. Makes or activates its volume if that is necessary.
    ///
    /// # Errors
    /// [`Error`].
    pub fn mounts(&self, space: &Space, key: &Key) -> Result<Mount, Error> {
        let Info { row, labels } = self.table.info(space, key)?;
        let mut wish = match row.kind {
            Kind::Active => self.hints.wish(space, key),
            Kind::View | Kind::Committed => Wish::default(),
        };
        wish.size = [wish.size, size_of_label(key, &labels)].into_iter().flatten().min();
        self.mount_of(&row, &wish)
    }

    fn mount_of(&self, row: &Row, wish: &Wish) -> Result<Mount, Error> {
        let lock = self.locks.lock(row.id);
        // Under the lock: a snapshot that was removed or committed meanwhile must get no volume any more.
        let gone = || TableError::NotFound { what: What::Snapshot, key: row.name.clone() };
        let row = self.table.row(row.id)?.filter(|now| now.name == row.name).ok_or_else(gone)?;
        if let Some(parent) = &row.parent {
            self.check_parent(parent)?;
        }
        match row.kind {
            Kind::Committed => Err(TableError::Committed { key: row.name }.into()),
            Kind::Active => self.active(&lock, &row, wish),
            Kind::View => {
                let parent = row.parent.as_ref().map(|parent| self.locks.lock(parent.volume));
                Ok(read_only(&self.volumes.viewed(&lock, parent.as_ref())?))
            }
        }
    }

    /// An active snapshot shows the base of its parent if its container only reads it, and has a volume of its own if not.
    fn active(&self, lock: &RowLock<'_>, row: &Row, wish: &Wish) -> Result<Mount, Error> {
        if let Some(parent) = &row.parent {
            let shows = match (row.name.is_docker_init(), wish.access) {
                (true, _) => self.init_of(parent.volume),
                (false, Access::Shared) => Some(parent.volume),
                (false, Access::Writable) => None,
            };
            if let Some(shows) = shows
                && let Some(mount) = self.shown(lock, row, shows)?
            {
                return Ok(mount);
            }
        }
        let journal = if row.name.is_extraction() { Journal::Unused } else { Journal::Used };
        let (parent, label) = (row.parent.as_ref().map(|p| p.volume), wish.label.as_ref());
        let volume = self.volumes.writable(lock, parent, wish.size)?;
        // After the volume is made, so that the row leads to files at any moment; before a client may write to it.
        if self.table.row(row.id)?.is_some_and(|now| now.shows.is_some()) {
            self.table.show(row.id, None)?;
        }
        Ok(match volume {
            Writable::Idle(volume) => writable(&volume.device, journal, label),
            Writable::InUse(volume) => bind(&self.own_mounts.of(lock, &volume, label)?),
        })
    }

    /// The mount of a snapshot that shows the volume of the row `shows`. None if it has files of its own, or if the volume cannot be
    /// shared now.
    fn shown(&self, lock: &RowLock<'_>, row: &Row, shows: RowId) -> Result<Option<Mount>, Error> {
        let parent = row.parent.as_ref().map(|parent| parent.volume);
        if !self.volumes.is_untouched(lock, parent)? {
            tracing::info!(key = %row.name, "not shared: somebody has written to the snapshot");
            return Ok(None);
        }
        let shown = self.locks.lock(shows);
        // Before the mount, because the queue deactivates what no row shows; and before the deletion, so that the row leads to
        // files at any moment.
        if row.shows != Some(shows) {
            self.table.show(row.id, Some(shows))?;
        }
        let Some(at) = self.volumes.shared(&shown)? else { return Ok(None) };
        self.volumes.drop_untouched(lock)?;
        Ok(Some(shared(&at)))
    }

    /// The row, which no client sees, whose volume has Docker's files above those of a committed row. None, with the reason in the
    /// log, if they cannot be made there: then Docker makes them in a snapshot of the container's own.
    fn init_of(&self, parent: RowId) -> Option<RowId> {
        let made = self.ensure_init_of(parent);
        let why =
            |error: &Error| tracing::warn!(row = parent.get(), "not shared: {}", chain(error));
        made.inspect_err(why).ok()
    }

    fn ensure_init_of(&self, parent: RowId) -> Result<RowId, Error> {
        let row = match self.table.init_of(parent)? {
            Some(row) => row,
            None => self.table.ensure_init_of(parent)?,
        };
        let lock = self.locks.lock(row.id);
        self.volumes.ensure_init(&lock, parent)?;
        Ok(row.id)
    }

    /// Refuses a parent that a power cut has cut short.
    fn check_parent(&self, parent: &Parent) -> Result<(), Error> {
        if self.volumes.is_whole(parent.volume)? {
            return Ok(());
        }
        let settled = self.volumes.settle(&self.locks.lock(parent.volume), true);
        settled.map(drop).map_err(|error| match error {
            Error::NotWhole { source, .. } => {
                Error::NotWhole { snapshot: parent.name.to_string(), source }
            }
            other => other,
        })
    }

    /// Commits an active snapshot: one row. containerd waits for this with its whole database locked.
    ///
    /// # Errors
    /// [`Error`].
    pub fn commit(&self, commit: Commit<'_>) -> Result<(), Error> {
        self.table.commit(commit)?;
        self.queue.raise();
        Ok(())
    }

    /// Removes a snapshot: one row.
    ///
    /// # Errors
    /// [`Error`].
    pub fn remove(&self, space: &Space, key: &Key) -> Result<(), Error> {
        self.table.remove(space, key)?;
        self.queue.raise();
        Ok(())
    }

    /// What is known of a snapshot.
    ///
    /// # Errors
    /// [`Error`].
    pub fn stat(&self, space: &Space, key: &Key) -> Result<Info, Error> {
        Ok(self.table.info(space, key)?)
    }

    /// Changes the labels of a snapshot.
    ///
    /// # Errors
    /// [`Error`].
    pub fn update(
        &self,
        space: &Space,
        key: &Key,
        labels: BTreeMap<String, String>,
        paths: &[String],
    ) -> Result<Info, Error> {
        Ok(self.table.update(space, key, labels, paths)?)
    }

    /// The snapshots that pass one of the filters.
    ///
    /// # Errors
    /// [`Error`].
    pub fn list(&self, space: &Space, filters: &[String]) -> Result<Vec<Info>, Error> {
        let filters = Filters::parse(filters).map_err(TableError::Filter)?;
        Ok(self.table.list(space, &filters)?)
    }

    /// What the snapshot takes of the pool beside its parent: for each of both one call of the kernel at most, or a few reads of the
    /// pool's metadata. Blocks that the snapshot has written over do not count, because their number is the same.
    ///
    /// # Errors
    /// [`Error`].
    pub fn usage(&self, space: &Space, key: &Key) -> Result<Bytes, Error> {
        let row = self.table.find(space, key)?;
        let own = match row.mapped {
            None if row.kind != Kind::View => self.volumes.mapped(row.id)?,
            known => known,
        };
        let parents = match &row.parent {
            Some(parent) if parent.mapped.is_none() => self.volumes.mapped(parent.volume)?,
            Some(parent) => parent.mapped,
            None => None,
        };
        let bytes = |size: Option<Bytes>| size.unwrap_or_default().0;
        Ok(Bytes(bytes(own).saturating_sub(bytes(parents))))
    }

    /// Does the work that removed and committed snapshots left, and waits for its end.
    pub fn cleanup(&self) {
        self.queue.raise_and_wait();
    }

    /// Adds what a process that died could not: the deletion of volumes that no row has. No new row gets the number of such a volume:
    /// it would be given that volume's files.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reconcile(&self) -> Result<(), Error> {
        // In this order: a volume is made after its row, so a volume that is seen has a row that is seen.
        let volumes = self.volumes.existing()?;
        let rows = self.table.ids()?;
        if let Some(last) = volumes.iter().max() {
            self.table.skip_to(*last)?;
        }
        for id in volumes.into_iter().filter(|id| !rows.contains(id)) {
            self.table.intend_deletion(id)?;
        }
        Ok(())
    }

    /// The queue: does the work of each call, one after another, until the process ends. Work that must wait for a user of a
    /// volume is tried again.
    pub fn work(&self) {
        let mut rest = Round::Rest;
        loop {
            self.queue.serve(rest == Round::Rest, || rest = self.round());
        }
    }

    fn round(&self) -> Round {
        let work = match self.table.work() {
            Ok(work) => work,
            Err(error) => {
                tracing::error!("{}", chain(&error));
                return Round::Rest;
            }
        };
        let mut round = Round::Done;
        for item in work {
            match self.act(item) {
                Ok(Round::Done) => {}
                Ok(Round::Rest) => round = Round::Rest,
                Err(error) => {
                    let (row, what) = (item.id.get(), item.work);
                    tracing::warn!(row, ?what, "will be tried again: {}", chain(&error));
                    round = Round::Rest;
                }
            }
        }
        round
    }

    fn act(&self, item: Item) -> Result<Round, Error> {
        let lock = self.locks.lock(item.id);
        self.own_mounts.remove(&lock)?;
        match item.work {
            Work::Delete => self.volumes.delete(&lock)?,
            Work::Settle => match self.settle(&lock, item.id) {
                Ok(Settled::InUse) => return Ok(Round::Rest),
                Ok(Settled::Sealed(Some(mapped))) => self.table.note_mapped(item.id, mapped)?,
                Ok(Settled::Sealed(None)) => {}
                // Who wants to use it is refused, with the reason. It stays until the client removes it.
                Err(error @ Error::NotWhole { .. }) => tracing::error!("{}", chain(&error)),
                Err(error) => return Err(error),
            },
        }
        self.table.done(item)?;
        Ok(Round::Done)
    }

    fn settle(&self, lock: &RowLock<'_>, id: RowId) -> Result<Settled, Error> {
        let is_shown = self.table.is_shown(id)?;
        self.volumes.settle(lock, is_shown)
    }
}
