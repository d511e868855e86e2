//! The tables of the store, and the migration of an older store.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;

/// The number of the schema that this program writes.
pub(super) const SCHEMA: i64 = 3;
/// Step `n` migrates a store from schema `n` to schema `n + 1`. Schema 1 does not have the sizes of a pool, so the next
/// activation of the pool measures them.
pub(super) const STEPS: [&str; SCHEMA as usize] = ["
    CREATE TABLE pools (
        name TEXT PRIMARY KEY, phase TEXT NOT NULL, on_loop INTEGER NOT NULL, data BLOB NOT NULL, metadata BLOB NOT NULL,
        block INTEGER NOT NULL, transaction_id INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE volumes (
        pool TEXT NOT NULL REFERENCES pools (name), name TEXT NOT NULL, thin_id INTEGER NOT NULL, size INTEGER NOT NULL,
        origin TEXT, phase TEXT NOT NULL, sealed INTEGER NOT NULL,
        PRIMARY KEY (pool, name), UNIQUE (pool, thin_id)
    ) STRICT;
    CREATE INDEX unfinished ON volumes (pool) WHERE phase <> 'ready';
", "
    ALTER TABLE pools ADD COLUMN uuid TEXT NOT NULL DEFAULT '';
    ALTER TABLE pools ADD COLUMN kind TEXT NOT NULL DEFAULT 'devices';
    ALTER TABLE pools ADD COLUMN data_size INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pools ADD COLUMN metadata_size INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pools ADD COLUMN clean INTEGER NOT NULL DEFAULT 0;
    UPDATE pools SET uuid = 'SHAREDROOT-' || name || '-pool', kind = iif(on_loop, 'loop', 'devices');
    ALTER TABLE pools DROP COLUMN on_loop;
    ALTER TABLE volumes ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
", "
    ALTER TABLE volumes ADD COLUMN was TEXT;
"];

/// The number of the store's schema; 0 for an empty file.
pub(super) fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    // Not `table_exists`: that function reads the connection's cached copy of the schema, which may be older than the file.
    let known =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta')";
    if !connection.query_row(known, [], |row| row.get(0))? {
        return Ok(0);
    }
    connection.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| row.get(0))
}

pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let fail = || Error::store("migrate", path);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail())?;
    let found = schema(&tx).map_err(fail())?;
    let Some(steps) = usize::try_from(found).ok().and_then(|done| STEPS.get(done..)) else {
        return Err(Error::NewerStore { path: path.to_owned(), found, known: SCHEMA });
    };
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;",
    )
    .map_err(fail())?;
    for step in steps {
        tx.execute_batch(step).map_err(fail())?;
    }
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('schema', ?1)", [SCHEMA])
        .map_err(fail())?;
    tx.commit().map_err(fail())
}
