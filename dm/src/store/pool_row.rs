//! A pool's row in the store.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use sharedroot_format::PoolName;

use super::{Store, Writer};
use crate::backing::{BackingKind, PoolBacking, Sizes};
use crate::error::Error;

use crate::units::Bytes;

/// The phase of a pool between its creation and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolPhase {
    /// A process creates or destroys the pool, or died while it did.
    Creating,
    /// The pool is complete.
    Ready,
    /// The pool is complete, and must still get the sizes of its row.
    Growing,
}

/// A pool's row in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolRow {
    pub(crate) phase: PoolPhase,
    /// The uuid of the pool's device.
    pub(crate) uuid: String,
    pub(crate) backing: PoolBacking,
    pub(crate) block: Bytes,
    /// How much of its backing the pool uses. The files or devices may be larger by now.
    pub(crate) sizes: Sizes,
    pub(crate) transaction_id: u64,
    /// The pool was deactivated. If it was not, its metadata is checked before the next activation.
    pub(crate) clean: bool,
}

impl PoolRow {
    /// Whether the pool is complete, active or not.
    pub(crate) fn is_complete(&self) -> bool {
        self.phase != PoolPhase::Creating
    }
}

impl Store {
    /// The pool's row; `None` if there is none.
    pub(crate) fn pool(&self, pool: &PoolName) -> Result<Option<PoolRow>, Error> {
        read(&self.lock(), &self.path, pool)
    }
}

impl Writer<'_> {
    pub(crate) fn pool(&self, pool: &PoolName) -> Result<Option<PoolRow>, Error> {
        read(&self.tx, self.path, pool)
    }

    pub(crate) fn put_pool(&self, pool: &PoolName, row: &PoolRow) -> Result<(), Error> {
        let PoolBacking { kind, data, metadata } = &row.backing;
        self.run(
            "INSERT OR REPLACE INTO pools
             (name, phase, uuid, kind, data, metadata, block, data_size, metadata_size, transaction_id, clean)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                pool.as_ref(),
                row.phase.text(),
                row.uuid,
                kind.text(),
                data.as_os_str().as_bytes(),
                metadata.as_os_str().as_bytes(),
                row.block.0 as i64,
                row.sizes.data.0 as i64,
                row.sizes.metadata.0 as i64,
                row.transaction_id as i64,
                row.clean,
            ],
        )
    }

    pub(crate) fn drop_pool(&self, pool: &PoolName) -> Result<(), Error> {
        self.run("DELETE FROM volumes WHERE pool = ?1", [pool.as_ref()])?;
        self.run("DELETE FROM pools WHERE name = ?1", [pool.as_ref()])
    }

    pub(crate) fn set_transaction_id(&self, pool: &PoolName, id: u64) -> Result<(), Error> {
        self.run(
            "UPDATE pools SET transaction_id = ?2 WHERE name = ?1",
            params![pool.as_ref(), id as i64],
        )
    }
}

fn read(connection: &Connection, path: &Path, pool: &PoolName) -> Result<Option<PoolRow>, Error> {
    let fail = |source| Error::store("read", path)(source);
    let mut statement =
        connection.prepare_cached("SELECT * FROM pools WHERE name = ?1").map_err(fail)?;
    let mut rows = statement.query([pool.as_ref()]).map_err(fail)?;
    let Some(row) = rows.next().map_err(fail)? else { return Ok(None) };
    let file = |column| {
        row.get_ref(column)
            .and_then(|value| Ok(value.as_blob()?))
            .map(|b| PathBuf::from(OsStr::from_bytes(b)))
    };
    let number = |column| row.get::<_, i64>(column).map(|value| value as u64).map_err(fail);
    Ok(Some(PoolRow {
        phase: word(row, path, "phase", PoolPhase::parse)?,
        uuid: row.get("uuid").map_err(fail)?,
        backing: PoolBacking {
            kind: word(row, path, "kind", BackingKind::parse)?,
            data: file("data").map_err(fail)?,
            metadata: file("metadata").map_err(fail)?,
        },
        block: Bytes(number("block")?),
        sizes: Sizes {
            data: Bytes(number("data_size")?),
            metadata: Bytes(number("metadata_size")?),
        },
        transaction_id: number("transaction_id")?,
        clean: row.get("clean").map_err(fail)?,
    }))
}

fn word<T>(
    row: &Row<'_>,
    path: &Path,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    let text: String = row.get(column).map_err(Error::store("read", path))?;
    parse(&text).ok_or_else(|| Error::StoreValue { path: path.to_owned(), column, value: text })
}

impl PoolPhase {
    fn text(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Growing => "growing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Creating, Self::Ready, Self::Growing].into_iter().find(|phase| phase.text() == text)
    }
}

impl BackingKind {
    fn text(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Devices => "devices",
            Self::Lvm => "lvm",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Loop, Self::Devices, Self::Lvm].into_iter().find(|kind| kind.text() == text)
    }
}
