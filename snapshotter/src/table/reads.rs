//! Snapshots found and listed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};
use sharedroot_dm::Bytes;

use super::connection::{Reader, Table};
use super::error::{TableError, What};
use super::row::{Info, Kind, Parent, Row, RowId, Time};
use crate::filter::Filters;
use crate::key::{Key, Space};
use crate::labels::Labels;

const ROWS: &str =
    "SELECT s.id, s.name, s.kind, s.created, s.updated, s.mapped, p.id, p.name, v.mapped, v.id, s.shows
    FROM snapshots AS s LEFT JOIN snapshots AS p ON p.id = s.parent
    LEFT JOIN snapshots AS v ON v.id = coalesce(p.shows, p.id)";

/// The space of rows that no client has. No client can name it.
pub(super) const HIDDEN: &str = "";

impl Table {
    /// The snapshot.
    ///
    /// # Errors
    /// [`TableError::NotFound`], or the table cannot be read.
    pub fn find(&self, space: &Space, key: &Key) -> Result<Row, TableError> {
        self.read(|reader| reader.find(space, key)?.ok_or_else(|| missing(What::Snapshot, key)))
    }

    /// The snapshot with its labels.
    ///
    /// # Errors
    /// [`TableError::NotFound`], or the table cannot be read.
    pub fn info(&self, space: &Space, key: &Key) -> Result<Info, TableError> {
        self.read(|reader| reader.info(space, key))
    }

    /// The snapshot of this number; none if it was removed.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn row(&self, id: RowId) -> Result<Option<Row>, TableError> {
        self.read(|reader| reader.row(id))
    }

    /// The snapshots that pass the filters, in the order of their names, from one state of the table.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn list(&self, space: &Space, filters: &Filters) -> Result<Vec<Info>, TableError> {
        let mut all = self.read(|reader| reader.list(space))?;
        all.retain(|info| filters.pass(info));
        Ok(all)
    }

    /// Whether somebody may have the volume of this row mounted read-only: a view shows it, or an active snapshot does.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn is_shown(&self, id: RowId) -> Result<bool, TableError> {
        let query = "SELECT EXISTS (
            SELECT 1 FROM snapshots AS s JOIN snapshots AS p ON p.id = s.parent
                WHERE s.kind = ?2 AND coalesce(p.shows, p.id) = ?1
            UNION ALL SELECT 1 FROM snapshots WHERE shows = ?1 AND kind = ?3)";
        self.read(|reader| {
            let values = params![id, Kind::View, Kind::Active];
            let found = reader.tx.query_row(query, values, |row| row.get(0));
            found.map_err(TableError::store("read", reader.path))
        })
    }

    /// The row with the files that Docker expects at the top of each root, above those of this committed one.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn init_of(&self, parent: RowId) -> Result<Option<Row>, TableError> {
        self.read(|reader| reader.init_of(parent))
    }

    /// The numbers of all snapshots, in all spaces.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn ids(&self) -> Result<BTreeSet<RowId>, TableError> {
        self.read(|reader| {
            let fail = TableError::store("read", reader.path);
            let mut statement =
                reader.tx.prepare_cached("SELECT id FROM snapshots").map_err(&fail)?;
            let ids = statement.query_map([], |row| row.get(0)).map_err(&fail)?;
            ids.collect::<Result<_, _>>().map_err(fail)
        })
    }
}

/// The error for a name that no snapshot has.
pub(super) fn missing(what: What, key: &Key) -> TableError {
    TableError::NotFound { what, key: key.clone() }
}

impl Reader<'_> {
    pub(super) fn find(&self, space: &Space, key: &Key) -> Result<Option<Row>, TableError> {
        self.one("WHERE s.space = ?1 AND s.name = ?2", params![space.as_ref(), key.as_ref()])
    }

    pub(super) fn row(&self, id: RowId) -> Result<Option<Row>, TableError> {
        self.one("WHERE s.id = ?1", params![id])
    }

    pub(super) fn info(&self, space: &Space, key: &Key) -> Result<Info, TableError> {
        let row = self.find(space, key)?.ok_or_else(|| missing(What::Snapshot, key))?;
        let labels = self.labels("snapshot = ?1", params![row.id])?;
        let labels = labels.into_values().next().unwrap_or_default();
        Ok(Info { labels: self.sound(labels)?, row })
    }

    pub(super) fn has_children(&self, id: RowId) -> Result<bool, TableError> {
        let query = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE parent = ?1 AND space <> ?2)";
        let found = self.tx.query_row(query, params![id, HIDDEN], |row| row.get(0));
        found.map_err(TableError::store("read", self.path))
    }

    pub(super) fn init_of(&self, parent: RowId) -> Result<Option<Row>, TableError> {
        self.one("WHERE s.parent = ?1 AND s.space = ?2", params![parent, HIDDEN])
    }

    fn list(&self, space: &Space) -> Result<Vec<Info>, TableError> {
        let of_space = "snapshot IN (SELECT id FROM snapshots WHERE space = ?1)";
        let mut labels = self.labels(of_space, params![space.as_ref()])?;
        let rows = self.rows("WHERE s.space = ?1 ORDER BY s.name", params![space.as_ref()])?;
        let with_labels = |row: Row| {
            let labels = self.sound(labels.remove(&row.id).unwrap_or_default())?;
            Ok(Info { row, labels })
        };
        rows.into_iter().map(with_labels).collect()
    }

    fn one(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<Row>, TableError> {
        let fail = TableError::store("read", self.path);
        let mut statement =
            self.tx.prepare_cached(&format!("{ROWS} {condition}")).map_err(&fail)?;
        let found = statement.query_row(values, |row| Ok(self.parsed(row))).optional();
        found.map_err(fail)?.transpose()
    }

    fn rows(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Row>, TableError> {
        let fail = TableError::store("read", self.path);
        let mut statement =
            self.tx.prepare_cached(&format!("{ROWS} {condition}")).map_err(&fail)?;
        let mut found = statement.query(values).map_err(&fail)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(&fail)? {
            rows.push(self.parsed(row)?);
        }
        Ok(rows)
    }

    fn parsed(&self, row: &rusqlite::Row<'_>) -> Result<Row, TableError> {
        let fail = TableError::store("read", self.path);
        let name = |at: usize| {
            let text: String = row.get(at).map_err(&fail)?;
            text.parse::<Key>().map_err(|_| self.wrong("snapshots.name", text))
        };
        let bytes = |at: usize| -> Result<Option<Bytes>, TableError> {
            let bytes: Option<i64> = row.get(at).map_err(&fail)?;
            let number = bytes.map(|bytes| u64::try_from(bytes).map(Bytes));
            number.transpose().map_err(|_| self.wrong("snapshots.mapped", format!("{bytes:?}")))
        };
        let parent = match row.get::<_, Option<RowId>>(6).map_err(&fail)? {
            Some(id) => {
                let volume = row.get(9).map_err(&fail)?;
                Some(Parent { id, name: name(7)?, volume, mapped: bytes(8)? })
            }
            None => None,
        };
        Ok(Row {
            id: row.get(0).map_err(&fail)?,
            name: name(1)?,
            kind: row.get(2).map_err(&fail)?,
            created: Time(row.get(3).map_err(&fail)?),
            updated: Time(row.get(4).map_err(&fail)?),
            mapped: bytes(5)?,
            parent,
            shows: row.get(10).map_err(&fail)?,
        })
    }

    fn labels(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<BTreeMap<RowId, BTreeMap<String, String>>, TableError> {
        let fail = TableError::store("read", self.path);
        let query = format!("SELECT snapshot, key, value FROM labels WHERE {condition}");
        let mut statement = self.tx.prepare_cached(&query).map_err(&fail)?;
        let mut found = statement.query(values).map_err(&fail)?;
        let mut labels: BTreeMap<RowId, BTreeMap<_, _>> = BTreeMap::new();
        while let Some(row) = found.next().map_err(&fail)? {
            let (key, value) = (row.get(1).map_err(&fail)?, row.get(2).map_err(&fail)?);
            labels.entry(row.get(0).map_err(&fail)?).or_default().insert(key, value);
        }
        Ok(labels)
    }

    fn sound(&self, labels: BTreeMap<String, String>) -> Result<Labels, TableError> {
        labels.try_into().map_err(|error| self.wrong("labels", format!("{error}")))
    }

    fn wrong(&self, column: &'static str, value: String) -> TableError {
        TableError::Value { path: self.path.to_owned(), column, value }
    }
}
