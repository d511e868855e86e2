//! Snapshots made, committed, changed, removed. Each change is one transaction, and is on the disk when it returns.

use std::collections::BTreeMap;

use rusqlite::params;
use sharedroot_dm::Bytes;

use super::connection::{Table, Writer};
use super::error::{TableError, What};
use super::reads::{HIDDEN, missing};
use super::row::{Info, Kind, Row, RowId, Time};
use super::work::Work;
use crate::key::{Key, Space};
use crate::labels::Labels;

/// A new snapshot.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// The snapshotter's name.
    pub space: &'a Space,
    /// The key.
    pub key: &'a Key,
    /// The committed snapshot of which it is made; none for an empty one.
    pub parent: Option<&'a Key>,
    /// Its labels.
    pub labels: &'a Labels,
}

/// An active snapshot that becomes a committed one.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The snapshotter's name.
    pub space: &'a Space,
    /// The active snapshot.
    pub key: &'a Key,
    /// The name of the committed snapshot.
    pub name: &'a Key,
    /// Its labels. Those of the active snapshot are not inherited.
    pub labels: &'a Labels,
    /// The parent that the client wants, if it wants one.
    pub parent: Option<&'a Key>,
}

impl Table {
    /// Makes a snapshot that is written or viewed: one row.
    ///
    /// # Errors
    /// [`TableError::Exists`]; [`TableError::NotFound`] and [`TableError::ParentNotCommitted`] for the parent; the table cannot
    /// be written.
    pub fn create(&self, kind: Kind, new: New<'_>) -> Result<Row, TableError> {
        let New { space, key, parent, labels } = new;
        self.write(|w| {
            let parent = parent.map(|parent| w.committed(space, parent)).transpose()?;
            if w.0.find(space, key)?.is_some() {
                return Err(TableError::Exists { key: key.clone() });
            }
            let now = Time::now().0;
            w.run(
                "INSERT INTO snapshots (space, name, kind, parent, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                params![space.as_ref(), key.as_ref(), kind, parent, now],
            )?;
            let row = w.0.find(space, key)?.ok_or_else(|| missing(What::Snapshot, key))?;
            w.put_labels(row.id, labels)?;
            Ok(row)
        })
    }

    /// Commits an active snapshot under its name. The volume is [settled](Work::Settle) later.
    ///
    /// # Errors
    /// [`TableError::Exists`] for the name; [`TableError::NotFound`], [`TableError::NotActive`] for the key;
    /// [`TableError::OtherParent`]; the table cannot be written.
    pub fn commit(&self, commit: Commit<'_>) -> Result<RowId, TableError> {
        let Commit { space, key, name, labels, parent } = commit;
        self.write(|w| {
            // First: a client that commits a second time because it got no answer hears that the name exists.
            if w.0.find(space, name)?.is_some() {
                return Err(TableError::Exists { key: name.clone() });
            }
            let row = w.0.find(space, key)?.ok_or_else(|| missing(What::Snapshot, key))?;
            if row.kind != Kind::Active {
                return Err(TableError::NotActive { key: key.clone() });
            }
            if let Some(parent) = parent
                && row.parent.as_ref().map(|parent| &parent.name) != Some(parent)
            {
                let (key, parent) = (key.clone(), parent.clone());
                return Err(TableError::OtherParent { key, parent });
            }
            w.run(
                "UPDATE snapshots SET name = ?2, kind = ?3, created = ?4, updated = ?4 WHERE id = ?1",
                params![row.id, name.as_ref(), Kind::Committed, Time::now().0],
            )?;
            w.put_labels(row.id, labels)?;
            w.intend(row.id, Work::Settle)?;
            Ok(row.id)
        })
    }

    /// Changes the labels as [`Labels::updated`] says.
    ///
    /// # Errors
    /// [`TableError::NotFound`], [`TableError::Labels`], or the table cannot be written.
    pub fn update(
        &self,
        space: &Space,
        key: &Key,
        labels: BTreeMap<String, String>,
        paths: &[String],
    ) -> Result<Info, TableError> {
        self.write(|w| {
            let Info { row, labels: before } = w.0.info(space, key)?;
            let labels = before.updated(labels, paths)?;
            let updated = Time::now();
            let change = "UPDATE snapshots SET updated = ?2 WHERE id = ?1";
            w.run(change, params![row.id, updated.0])?;
            w.put_labels(row.id, &labels)?;
            Ok(Info { row: Row { updated, ..row }, labels })
        })
    }

    /// Removes a snapshot. Its volume is [deleted](Work::Delete) later, and the parent of a view [settles](Work::Settle).
    ///
    /// # Errors
    /// [`TableError::NotFound`], [`TableError::HasChildren`], or the table cannot be written.
    pub fn remove(&self, space: &Space, key: &Key) -> Result<(), TableError> {
        self.write(|w| {
            let row = w.0.find(space, key)?.ok_or_else(|| missing(What::Snapshot, key))?;
            w.remove(&row)
        })
    }

    /// Takes back a snapshot that was made and never told to a client.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn undo(&self, id: RowId) -> Result<(), TableError> {
        self.write(|w| w.0.row(id)?.map_or(Ok(()), |row| w.remove(&row)))
    }

    /// Notes that an active snapshot has no volume of its own and shows that of `shows`, or that it has its own.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn show(&self, id: RowId, shows: Option<RowId>) -> Result<(), TableError> {
        let change = "UPDATE snapshots SET shows = ?2 WHERE id = ?1 AND kind = ?3";
        self.write(|w| w.run(change, params![id, shows, Kind::Active]).map(drop))
    }

    /// Makes the row of [`Self::init_of`], which no client sees, if there is none. Its volume is made later.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn ensure_init_of(&self, parent: RowId) -> Result<Row, TableError> {
        self.write(|w| {
            if let Some(row) = w.0.init_of(parent)? {
                return Ok(row);
            }
            let name = format!("init-of-{}", parent.get());
            w.run(
                "INSERT INTO snapshots (space, name, kind, parent, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                params![HIDDEN, name, Kind::Committed, parent, Time::now().0],
            )?;
            let wrong = || TableError::Value {
                path: w.0.path.to_owned(),
                column: "snapshots.name",
                value: name.clone(),
            };
            w.0.init_of(parent)?.ok_or_else(wrong)
        })
    }

    /// Notes what the volume of a committed snapshot takes.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn note_mapped(&self, id: RowId, mapped: Bytes) -> Result<(), TableError> {
        let bytes = i64::try_from(mapped.0).unwrap_or(i64::MAX);
        let change = "UPDATE snapshots SET mapped = ?2 WHERE id = ?1";
        self.write(|w| w.run(change, params![id, bytes]).map(drop))
    }
}

impl Writer<'_> {
    /// The number of a committed snapshot that is to be a parent.
    fn committed(&self, space: &Space, key: &Key) -> Result<RowId, TableError> {
        match self.0.find(space, key)? {
            Some(Row { kind: Kind::Committed, id, .. }) => Ok(id),
            Some(_) => Err(TableError::ParentNotCommitted { key: key.clone() }),
            None => Err(missing(What::Parent, key)),
        }
    }

    fn put_labels(&self, id: RowId, labels: &Labels) -> Result<(), TableError> {
        self.run("DELETE FROM labels WHERE snapshot = ?1", params![id])?;
        for (key, value) in labels.iter() {
            let put = "INSERT INTO labels (snapshot, key, value) VALUES (?1, ?2, ?3)";
            self.run(put, params![id, key, value])?;
        }
        Ok(())
    }

    fn remove(&self, row: &Row) -> Result<(), TableError> {
        if self.0.has_children(row.id)? {
            return Err(TableError::HasChildren { key: row.name.clone() });
        }
        if let Some(init) = self.0.init_of(row.id)? {
            self.run("DELETE FROM snapshots WHERE id = ?1", params![init.id])?;
            self.intend(init.id, Work::Delete)?;
        }
        self.run("DELETE FROM snapshots WHERE id = ?1", params![row.id])?;
        self.intend(row.id, Work::Delete)?;
        match (row.kind, &row.parent) {
            (Kind::View, Some(parent)) => self.intend(parent.volume, Work::Settle),
            _ => Ok(()),
        }
    }
}
