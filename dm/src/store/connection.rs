//! The durable table of pools and thin volumes: SQLite in `store.db`, because several processes write it and it must survive
//! a power cut (WAL with `synchronous=FULL`: a commit is on the disk when it returns).

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

/// Writers are serialized by the pool's lock, so only another pool's writer or a checkpoint is ever waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The length of the WAL at which a commit moves it into the database: some ten changes. That costs two fsyncs, and each opener
/// that is alone reads what is there.
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

    /// Opens the store, makes it if it is not there, and brings an old one up to this program's schema.
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
        // Every runtime process opens the store for one change. If the last one to close it moved the WAL into the database and
        // removed it, that would cost four fsyncs more than the change itself; the next opener reads a short WAL instead, as it
        // does after a crash.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(fail("set up"))?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES).map_err(fail("set up"))?;
        if schema(&connection).map_err(fail("read"))? != SCHEMA {
            // The change to WAL does not wait for other openers, so they take turns.
            let _store_lock = Lock::store(run_dir)?;
            connection.pragma_update(None, "journal_mode", "WAL").map_err(fail("set up"))?;
            migrate(&mut connection, &path)?;
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolls its transaction back; the connection stays sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `body` in one write transaction: committed if it succeeds, rolled back if not.
    pub(crate) fn write<T>(
        &self,
        body: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.write_to(&mut self.lock(), body)
    }

    /// As [`write`](Self::write), but on the disk only with the next write: for what a power cut may take back, such as that a
    /// deletion is done. It never gets there without the writes before it, nor they without it once another follows: they are
    /// parts of one log.
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

    /// Eight hexadecimal digits that no other pool has.
    pub(crate) fn tag(&self) -> Result<String, Error> {
        let query = "SELECT lower(hex(randomblob(4)))";
        self.lock().query_row(query, [], |row| row.get(0)).map_err(Error::store("read", &self.path))
    }
}

/// One write transaction.
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
