//! The store opened, read and written.
//!
//! The store is an SQLite database, because several processes write it and it must survive a power cut. With a WAL and
//! `synchronous=FULL` a commit is on the disk when it returns (<https://sqlite.org/pragma.html#pragma_synchronous>).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::schema::{SCHEMA, migrate, schema};
use crate::error::Error;
use crate::lock::Lock;

/// How long a writer waits. The pool's lock serializes the writers of a pool, so a writer waits only for a writer of another
/// pool or for a checkpoint.
const PATIENCE: Duration = Duration::from_secs(30);
/// The length of the WAL, in pages, at which a commit moves the WAL into the database: some ten changes. A move costs
/// two fsyncs. An opener that is alone reads the whole WAL, so a long WAL costs time, too.
const WAL_PAGES: i64 = 50;

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// The store's file.
    pub(crate) fn file(state_dir: &Path) -> PathBuf {
        state_dir.join("store.db")
    }

    /// Opens the store. Creates it if it does not exist, and migrates an older store to this program's schema.
    ///
    /// # Errors
    /// [`Error::NewerStore`], or the store cannot be read or written.
    pub(crate) fn open(state_dir: &Path, run_dir: &Path) -> Result<Self, Error> {
        let path = Self::file(state_dir);
        let fail = |action| Error::store(action, &path);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::StoreFile { path: path.clone(), source })?;
        let mut connection = Connection::open(&path).map_err(fail("open"))?;
        connection.busy_timeout(PATIENCE).map_err(fail("set up"))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail("set up"))?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail("set up"))?;
        // Every runtime process opens the store for one change. By default the last process that closes the store moves the WAL
        // into the database and removes the WAL, which costs four fsyncs more than the change. Without that, the next opener
        // reads a short WAL, as after a crash.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(fail("set up"))?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES).map_err(fail("set up"))?;
        if schema(&connection).map_err(fail("read"))? != SCHEMA {
            // SQLite's change to WAL does not wait for other openers, so a lock makes one opener wait for the other.
            let _store_lock = Lock::store(run_dir)?;
            connection.pragma_update(None, "journal_mode", "WAL").map_err(fail("set up"))?;
            migrate(&mut connection, &path)?;
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread has rolled its transaction back, so the connection can be used.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `body` in one write transaction of SQLite. Commits if `body` succeeds, and rolls back if not.
    pub(crate) fn write<T>(
        &self,
        body: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.write_to(&mut self.lock(), body)
    }

    /// As [`write`](Self::write), but commits without fsync. The rows are on the disk with the next synchronous commit; all
    /// commits reach the disk in their order, because they are in one log. A power cut may take the last rows back, so use this
    /// only for rows that a recovery writes again, such as the end of a deletion.
    pub(crate) fn write_late<T>(
        &self,
        body: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = self.lock();
        let sync = |connection: &Connection, level| {
            connection
                .pragma_update(None, "synchronous", level)
                .map_err(Error::store("set up", &self.path))
        };
        sync(&connection, "NORMAL")?;
        let written = self.write_to(&mut connection, body);
        sync(&connection, "FULL").and(written)
    }

    fn write_to<T>(
        &self,
        connection: &mut Connection,
        body: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::store("lock", &self.path))?;
        let writer = Writer { tx, path: &self.path };
        let value = body(&writer)?;
        writer.tx.commit().map_err(Error::store("commit to", &self.path))?;
        Ok(value)
    }

    /// Eight random hexadecimal digits, for the uuid of a new pool.
    pub(crate) fn tag(&self) -> Result<String, Error> {
        let query = "SELECT lower(hex(randomblob(4)))";
        self.lock().query_row(query, [], |row| row.get(0)).map_err(Error::store("read", &self.path))
    }
}

/// One write transaction of SQLite.
#[derive(Debug)]
pub(crate) struct Writer<'s> {
    pub(crate) tx: Transaction<'s>,
    pub(crate) path: &'s Path,
}

impl Writer<'_> {
    pub(crate) fn run(&self, statement: &str, values: impl rusqlite::Params) -> Result<(), Error> {
        self.tx.execute(statement, values).map(drop).map_err(Error::store("write", self.path))
    }
}
