//! The table opened, read and written.
//!
//! With a WAL and `synchronous=FULL` a commit is on the disk when it returns (<https://sqlite.org/pragma.html#pragma_synchronous>).
//! Only one process uses the table; `lib.rs` holds the lock.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sharedroot_bases::SNAPSHOT_TABLE;
use sharedroot_format::TableTag;

use super::error::TableError;
use super::schema;

/// The open table.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    tag: TableTag,
    /// For changes, one after another.
    writer: Mutex<Connection>,
    /// For requests that only read, which do not wait for the disk behind a change.
    reader: Mutex<Connection>,
}

impl Table {
    /// Opens the table in the state directory. Makes it if it does not exist.
    ///
    /// # Errors
    /// [`TableError::Newer`], or the file cannot be read or written.
    pub fn open(state_dir: &Path) -> Result<Self, TableError> {
        let path = state_dir.join(SNAPSHOT_TABLE);
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        how.open(&path).map_err(|source| TableError::File { path: path.clone(), source })?;
        let mut writer = connect(&path)?;
        let tag = TableTag::new(schema::prepare(&mut writer, &path)?);
        let reader = connect(&path)?;
        Ok(Self { path, tag, writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// The tag of the table, which is part of the names of its volumes.
    #[must_use]
    pub fn tag(&self) -> TableTag {
        self.tag
    }

    /// Runs `body` in one transaction that only reads, so that it sees one state of the table.
    pub(super) fn read<T>(
        &self,
        body: impl FnOnce(&Reader<'_>) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let mut connection = lock(&self.reader);
        let tx = connection.transaction().map_err(TableError::store("read", &self.path))?;
        body(&Reader { tx: &tx, path: &self.path })
    }

    /// Runs `body` in one transaction. Commits if `body` succeeds, and rolls back if not.
    pub(super) fn write<T>(
        &self,
        body: impl FnOnce(&Writer<'_>) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let mut connection = lock(&self.writer);
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(TableError::store("lock", &self.path))?;
        let value = body(&Writer(Reader { tx: &tx, path: &self.path }))?;
        tx.commit().map_err(TableError::store("commit to", &self.path))?;
        Ok(value)
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic in another thread has rolled its transaction back, so the connection can be used.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path) -> Result<Connection, TableError> {
    let fail = |action| TableError::store(action, path);
    let connection = Connection::open(path).map_err(fail("open"))?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fail("set up"))?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fail("set up"))?;
    connection.pragma_update(None, "foreign_keys", true).map_err(fail("set up"))?;
    Ok(connection)
}

/// A transaction that reads.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    pub(super) tx: &'t Transaction<'t>,
    pub(super) path: &'t Path,
}

/// A transaction that writes.
#[derive(Debug)]
pub(super) struct Writer<'t>(pub(super) Reader<'t>);

impl Writer<'_> {
    /// Runs a statement, and returns how many rows it changed.
    pub(super) fn run(
        &self,
        statement: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, TableError> {
        let done = self.0.tx.prepare_cached(statement).and_then(|mut s| s.execute(values));
        done.map_err(TableError::store("write", self.0.path))
    }
}
