//! The tables.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use sharedroot_bases::SNAPSHOT_SCHEMA as SCHEMA;

use super::error::TableError;

/// A number is never given out twice (AUTOINCREMENT), because it names a volume. The tag names the table, so that a new table
/// after a lost one names other volumes. A row that `shows` another row has no volume, and shows that row's.
const TABLES: &str = "
    CREATE TABLE meta (schema INTEGER NOT NULL, tag INTEGER NOT NULL) STRICT;
    CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        parent INTEGER REFERENCES snapshots (id), created INTEGER NOT NULL, updated INTEGER NOT NULL, mapped INTEGER,
        shows INTEGER REFERENCES snapshots (id), UNIQUE (space, name)
    ) STRICT;
    CREATE INDEX children ON snapshots (parent) WHERE parent IS NOT NULL;
    CREATE TABLE labels (
        snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (snapshot, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE work (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE, what TEXT NOT NULL) STRICT;
    INSERT INTO meta (schema, tag) SELECT 2, random() & 0xffffffff;
";
/// From the first schema to the second one.
const SECOND: &str = "
    ALTER TABLE snapshots ADD COLUMN shows INTEGER REFERENCES snapshots (id);
    UPDATE meta SET schema = 2;
";

/// Makes the tables if the file is empty, and returns the tag of the table.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<u32, TableError> {
    let fail = |action| TableError::store(action, path);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let tx = tx.map_err(fail("lock"))?;
    let made = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'";
    if tx.query_row(made, [], |_| Ok(())).optional().map_err(fail("read"))?.is_none() {
        tx.execute_batch(TABLES).map_err(fail("set up"))?;
    }
    let meta = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (mut schema, tag): (i64, u32) =
        tx.query_row("SELECT schema, tag FROM meta", [], meta).map_err(fail("read"))?;
    if schema == 1 {
        tx.execute_batch(SECOND).map_err(fail("set up"))?;
        schema = SCHEMA;
    }
    if schema != SCHEMA {
        let (path, known) = (path.to_owned(), SCHEMA);
        return Err(TableError::Newer { path, found: schema, known });
    }
    tx.commit().map_err(fail("set up"))?;
    Ok(tag)
}
