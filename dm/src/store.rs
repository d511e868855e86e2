//! The durable table of pools and thin volumes: SQLite in `store.db`, because several processes write it and it must survive
//! a power cut (WAL with `synchronous=FULL`: a commit is on the disk when it returns).

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};
use sharedroot_format::{PoolName, VolumeName};

use crate::error::Error;
use crate::lock::Lock;
use crate::names::ThinId;
use crate::units::Bytes;

/// The schema that this program writes.
const SCHEMA: i64 = 2;
/// Writers are serialized by the pool's lock, so only another pool's writer or a checkpoint is ever waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The length of the WAL at which a commit moves it into the database: some ten changes. That costs two fsyncs, and each opener
/// that is alone reads what is there.
const WAL_PAGES: i64 = 50;
/// Step `n` leads from schema `n` to `n + 1`. In a pool of schema 1 the sizes are not known: its next activation measures them.
const STEPS: [&str; SCHEMA as usize] = ["
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
"];

const VOLUME: &str = "SELECT volumes.* FROM volumes JOIN pools ON pools.name = volumes.pool
    WHERE volumes.pool = ?1 AND pools.uuid = ?2 AND volumes.name = ?3";
/// In order of the index on pool and thin id, like [`HIGHEST_ID`].
const IDS: &str = "SELECT thin_id FROM volumes WHERE pool = ?1 ORDER BY thin_id";
const HIGHEST_ID: &str = "SELECT MAX(thin_id) FROM volumes WHERE pool = ?1";
/// Its index holds nothing when all is well. Named, or the planner takes the primary key's for the order.
const UNFINISHED: &str = "SELECT * FROM volumes INDEXED BY unfinished WHERE pool = ?1 AND phase <> 'ready' ORDER BY name";

/// How far a volume has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Being made: its maker fills it, or died.
    Creating,
    /// Complete.
    Ready,
    /// Being deleted: its deleter is at it, or died.
    Deleting,
}

impl Phase {
    fn text(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Deleting => "deleting",
        }
    }
}

/// The word that the store has for it.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What the store knows of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeRow {
    pub(crate) name: VolumeName,
    pub(crate) id: ThinId,
    pub(crate) size: Bytes,
    pub(crate) origin: Option<VolumeName>,
    pub(crate) phase: Phase,
    pub(crate) sealed: bool,
    /// The pool's transaction that made it, which the pool's metadata have too; 0 if a store of schema 1 had it.
    pub(crate) made: u64,
}

impl VolumeRow {
    /// The row of a volume that was deleted while its device was in use: it has given its own name away.
    pub(crate) fn is_deferred(&self) -> bool {
        self.phase == Phase::Deleting && self.name == VolumeName::deferred(self.id.get())
    }
}

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
        let fail = |action| failed(action, &path);
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
                .map_err(failed("set up", &self.path))
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
            .map_err(failed("lock", &self.path))?;
        let writer = Writer { tx, path: &self.path };
        let value = body(&writer)?;
        writer.tx.commit().map_err(failed("commit to", &self.path))?;
        Ok(value)
    }

    /// The row of a volume of the pool whose device has the uuid `pool_uuid`, or none.
    pub(crate) fn volume(
        &self,
        pool: &PoolName,
        pool_uuid: &str,
        name: &VolumeName,
    ) -> Result<Option<VolumeRow>, Error> {
        read_volume(&self.lock(), &self.path, [pool.as_ref(), pool_uuid, name.as_ref()])
    }

    /// All volumes of a pool by name.
    pub(crate) fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        self.list("SELECT * FROM volumes WHERE pool = ?1 ORDER BY name", pool)
    }

    /// The volumes of a pool that are not ready.
    pub(crate) fn unfinished(&self, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        self.list(UNFINISHED, pool)
    }

    /// Eight hexadecimal digits that no other pool has.
    pub(crate) fn tag(&self) -> Result<String, Error> {
        let query = "SELECT lower(hex(randomblob(4)))";
        self.lock().query_row(query, [], |row| row.get(0)).map_err(failed("read", &self.path))
    }

    fn list(&self, query: &str, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        let connection = self.lock();
        let fail = |source| failed("read", &self.path)(source);
        let mut statement = connection.prepare_cached(query).map_err(fail)?;
        let mut rows = statement.query([pool.as_ref()]).map_err(fail)?;
        let mut list = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            list.push(volume_row(row, &self.path)?);
        }
        Ok(list)
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
        self.tx.execute(statement, values).map(drop).map_err(failed("write", self.path))
    }

    pub(crate) fn volume(
        &self,
        pool: &PoolName,
        pool_uuid: &str,
        name: &VolumeName,
    ) -> Result<Option<VolumeRow>, Error> {
        read_volume(&self.tx, self.path, [pool.as_ref(), pool_uuid, name.as_ref()])
    }

    pub(crate) fn put_volume(&self, pool: &PoolName, row: &VolumeRow) -> Result<(), Error> {
        self.run(
            "INSERT INTO volumes (pool, name, thin_id, size, origin, phase, sealed, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                pool.as_ref(), row.name.as_ref(), row.id.get(), row.size.0 as i64,
                row.origin.as_ref().map(AsRef::as_ref), row.phase.text(), row.sealed, row.made as i64
            ],
        )
    }

    /// # Errors
    /// [`Error::NoVolume`] if the row is gone.
    pub(crate) fn set_phase(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        phase: Phase,
        sealed: bool,
    ) -> Result<(), Error> {
        self.run(
            "UPDATE volumes SET phase = ?3, sealed = ?4 WHERE pool = ?1 AND name = ?2",
            params![pool.as_ref(), name.as_ref(), phase.text(), sealed],
        )?;
        match self.tx.changes() {
            0 => Err(Error::NoVolume { volume: name.clone(), pool: pool.clone() }),
            _ => Ok(()),
        }
    }

    pub(crate) fn drop_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), Error> {
        self.run(
            "DELETE FROM volumes WHERE pool = ?1 AND name = ?2",
            [pool.as_ref(), name.as_ref()],
        )
    }

    pub(crate) fn set_size(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        size: Bytes,
    ) -> Result<(), Error> {
        self.run(
            "UPDATE volumes SET size = ?3 WHERE pool = ?1 AND name = ?2",
            params![pool.as_ref(), name.as_ref(), size.0 as i64],
        )
    }

    /// The thin id after the highest in use; when that was `last`, the lowest that no row of the pool has. So the many
    /// snapshots of a long uptime cost one look into the index each, and ids in a log are seldom ambiguous.
    pub(crate) fn next_id(&self, pool: &PoolName, last: ThinId) -> Result<Option<ThinId>, Error> {
        let fail = |source| failed("read", self.path)(source);
        let highest: Option<u32> =
            self.tx.query_row(HIGHEST_ID, [pool.as_ref()], |row| row.get(0)).map_err(fail)?;
        let next = highest.map_or(0, |id| id + 1);
        if next <= last.get() {
            return Ok(ThinId::new(next));
        }
        let mut statement = self.tx.prepare_cached(IDS).map_err(fail)?;
        let ids = statement.query_map([pool.as_ref()], |row| row.get::<_, u32>(0)).map_err(fail)?;
        for (free, id) in (0..=last.get()).zip(ids) {
            if free != id.map_err(fail)? {
                return Ok(ThinId::new(free));
            }
        }
        Ok(None)
    }
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Store { action, path, source }
}

/// The store's schema; 0 for an empty file.
fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    // Not `table_exists`: it answers from the connection's own copy of the schema, which another process may have outdated.
    let known =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta')";
    if !connection.query_row(known, [], |row| row.get(0))? {
        return Ok(0);
    }
    connection.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| row.get(0))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let fail = || failed("migrate", path);
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

fn read_volume(
    connection: &Connection,
    path: &Path,
    pool_uuid_name: [&str; 3],
) -> Result<Option<VolumeRow>, Error> {
    let fail = |source| failed("read", path)(source);
    let mut statement = connection.prepare_cached(VOLUME).map_err(fail)?;
    let mut rows = statement.query(pool_uuid_name).map_err(fail)?;
    rows.next().map_err(fail)?.map(|row| volume_row(row, path)).transpose()
}

fn volume_row(row: &Row<'_>, path: &Path) -> Result<VolumeRow, Error> {
    let fail = |source| failed("read", path)(source);
    let wrong = |column, value: String| Error::StoreValue { path: path.to_owned(), column, value };
    let name = |column, text: String| text.parse::<VolumeName>().map_err(|_| wrong(column, text));
    let id: i64 = row.get("thin_id").map_err(fail)?;
    Ok(VolumeRow {
        name: name("volumes.name", row.get("name").map_err(fail)?)?,
        id: u32::try_from(id)
            .ok()
            .and_then(ThinId::new)
            .ok_or_else(|| wrong("volumes.thin_id", id.to_string()))?,
        size: Bytes(row.get::<_, i64>("size").map_err(fail)? as u64),
        origin: row
            .get::<_, Option<String>>("origin")
            .map_err(fail)?
            .map(|origin| name("volumes.origin", origin))
            .transpose()?,
        phase: phase(row, path)?,
        sealed: row.get("sealed").map_err(fail)?,
        made: row.get::<_, i64>("made").map_err(fail)? as u64,
    })
}

fn phase(row: &Row<'_>, path: &Path) -> Result<Phase, Error> {
    match row.get_ref("phase").map_err(failed("read", path))? {
        ValueRef::Text(b"creating") => Ok(Phase::Creating),
        ValueRef::Text(b"ready") => Ok(Phase::Ready),
        ValueRef::Text(b"deleting") => Ok(Phase::Deleting),
        other => Err(Error::StoreValue {
            path: path.to_owned(),
            column: "phase",
            value: format!("{other:?}"),
        }),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
