//! What is to be done with volumes. It is written in the transaction that makes it necessary, and taken out when it is done. So
//! the end of the process at any moment loses none of it.

use rusqlite::params;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::connection::{Table, Writer};
use super::error::TableError;
use super::row::RowId;

/// What is to be done with the volume of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The row was removed: the volume is deleted.
    Delete,
    /// The row is committed: the volume is sealed, and inactive unless a view shows it.
    Settle,
}

impl Work {
    fn text(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Settle => "settle",
        }
    }
}

impl FromSql for Work {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "delete" => Ok(Self::Delete),
            "settle" => Ok(Self::Settle),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Work {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.text().into())
    }
}

/// Work that the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Each intention has a number of its own, also a second one of the same work.
    number: i64,
    /// The row whose volume it is about.
    pub id: RowId,
    /// What is to be done.
    pub work: Work,
}

impl Table {
    /// All work, the last row first: a child's volume is deleted before its parent's, which is cheaper.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn work(&self) -> Result<Vec<Item>, TableError> {
        self.read(|reader| {
            let fail = TableError::store("read", reader.path);
            let query = "SELECT number, id, what FROM work ORDER BY id DESC";
            let mut statement = reader.tx.prepare_cached(query).map_err(&fail)?;
            let item = |row: &rusqlite::Row<'_>| {
                Ok(Item { number: row.get(0)?, id: row.get(1)?, work: row.get(2)? })
            };
            let work = statement.query_map([], item).map_err(&fail)?;
            work.collect::<Result<_, _>>().map_err(fail)
        })
    }

    /// Adds the deletion of a volume that no row has.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn intend_deletion(&self, id: RowId) -> Result<(), TableError> {
        self.write(|w| w.intend(id, Work::Delete))
    }

    /// Gives out no number up to this one any more. An older table from a backup would give out numbers of volumes that exist.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn skip_to(&self, id: RowId) -> Result<(), TableError> {
        self.write(|w| {
            let raised = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'snapshots'";
            if w.run(raised, params![id])? == 0 {
                let first = "INSERT INTO sqlite_sequence (name, seq) VALUES ('snapshots', ?1)";
                w.run(first, params![id])?;
            }
            Ok(())
        })
    }

    /// Takes out work that is done. If the same was intended again meanwhile, that stays.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn done(&self, item: Item) -> Result<(), TableError> {
        let taken = "DELETE FROM work WHERE number = ?1";
        self.write(|w| w.run(taken, params![item.number]).map(drop))
    }
}

impl Writer<'_> {
    /// The later work of a row takes the place of the earlier one: what is removed need not settle.
    pub(super) fn intend(&self, id: RowId, work: Work) -> Result<(), TableError> {
        let put = "INSERT OR REPLACE INTO work (id, what) VALUES (?1, ?2)";
        self.run(put, params![id, work]).map(drop)
    }
}
