//! A volume's row in the store.

use std::fmt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use sharedroot_format::{PoolName, VolumeName};

use super::{Store, Writer};
use crate::error::Error;
use crate::names::ThinId;
use crate::units::Bytes;

const VOLUME: &str = "SELECT volumes.* FROM volumes JOIN pools ON pools.name = volumes.pool
    WHERE volumes.pool = ?1 AND pools.uuid = ?2 AND volumes.name = ?3";
/// Uses the index on pool and thin id, as [`HIGHEST_ID`] does.
pub(super) const IDS: &str = "SELECT thin_id FROM volumes WHERE pool = ?1 ORDER BY thin_id";
pub(super) const HIGHEST_ID: &str = "SELECT MAX(thin_id) FROM volumes WHERE pool = ?1";
/// The index `unfinished` is empty when every volume is ready. The query names this index, because the planner would take the
/// primary key's index for the order.
pub(super) const UNFINISHED: &str = "SELECT * FROM volumes INDEXED BY unfinished WHERE pool = ?1 AND phase <> 'ready' ORDER BY name";

/// The phase of a volume between its creation and its deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A process creates and fills the volume, or died while it did.
    Creating,
    /// The volume is complete.
    Ready,
    /// A process deletes the volume, or died while it did.
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

/// Prints the word that the store has for the phase.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A volume's row in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeRow {
    pub(crate) name: VolumeName,
    pub(crate) id: ThinId,
    pub(crate) size: Bytes,
    pub(crate) origin: Option<VolumeName>,
    pub(crate) phase: Phase,
    pub(crate) sealed: bool,
    /// The pool's transaction that created the volume. The pool's metadata has the same number. 0 if the row comes from a store
    /// of schema 1.
    pub(crate) made: u64,
    /// The name of the volume before it was deleted while its device was in use.
    pub(crate) was: Option<VolumeName>,
}

impl VolumeRow {
    /// Whether the volume was deleted while its device was in use. Such a row has a name of its own, so that a new volume can
    /// have the old name.
    pub(crate) fn is_deferred(&self) -> bool {
        self.phase == Phase::Deleting && self.name == VolumeName::deferred(self.id.get())
    }
}

impl Store {
    /// The row of a volume; `None` if there is none. `pool_uuid` is the uuid of the pool's device: the row of a volume of an
    /// earlier pool with the same name is not returned.
    pub(crate) fn volume(
        &self,
        pool: &PoolName,
        pool_uuid: &str,
        name: &VolumeName,
    ) -> Result<Option<VolumeRow>, Error> {
        read_volume(&self.lock(), &self.path, pool, pool_uuid, name)
    }

    /// All volumes of a pool, ordered by name.
    pub(crate) fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        self.list("SELECT * FROM volumes WHERE pool = ?1 ORDER BY name", pool)
    }

    /// The volumes of a pool that are not ready, ordered by name.
    pub(crate) fn unfinished(&self, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        self.list(UNFINISHED, pool)
    }

    fn list(&self, query: &str, pool: &PoolName) -> Result<Vec<VolumeRow>, Error> {
        let connection = self.lock();
        let fail = |source| Error::store("read", &self.path)(source);
        let mut statement = connection.prepare_cached(query).map_err(fail)?;
        let mut rows = statement.query([pool.as_ref()]).map_err(fail)?;
        let mut list = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            list.push(volume_row(row, &self.path)?);
        }
        Ok(list)
    }
}

impl Writer<'_> {
    pub(crate) fn volume(
        &self,
        pool: &PoolName,
        pool_uuid: &str,
        name: &VolumeName,
    ) -> Result<Option<VolumeRow>, Error> {
        read_volume(&self.tx, self.path, pool, pool_uuid, name)
    }

    pub(crate) fn put_volume(&self, pool: &PoolName, row: &VolumeRow) -> Result<(), Error> {
        self.run(
            "INSERT INTO volumes (pool, name, thin_id, size, origin, phase, sealed, made, was) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                pool.as_ref(), row.name.as_ref(), row.id.get(), row.size.0 as i64,
                row.origin.as_ref().map(AsRef::as_ref), row.phase.text(), row.sealed, row.made as i64,
                row.was.as_ref().map(AsRef::as_ref)
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
    ) -> Result<(), Error> {
        self.run(
            "UPDATE volumes SET phase = ?3 WHERE pool = ?1 AND name = ?2",
            [pool.as_ref(), name.as_ref(), phase.text()],
        )?;
        match self.tx.changes() {
            0 => Err(Error::NoVolume { volume: name.clone(), pool: pool.clone() }),
            _ => Ok(()),
        }
    }

    pub(crate) fn set_sealed(&self, pool: &PoolName, name: &VolumeName) -> Result<(), Error> {
        self.run(
            "UPDATE volumes SET sealed = 1 WHERE pool = ?1 AND name = ?2",
            [pool.as_ref(), name.as_ref()],
        )
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

    /// The thin id for a new volume: the highest used id plus one. If `last` is in use, the lowest id that no row of the pool
    /// has;
    /// `None` if there is no such id. So a new id costs one access to the index, and an id in a log seldom means two volumes.
    pub(crate) fn next_id(&self, pool: &PoolName, last: ThinId) -> Result<Option<ThinId>, Error> {
        let fail = |source| Error::store("read", self.path)(source);
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

fn read_volume(
    connection: &Connection,
    path: &Path,
    pool: &PoolName,
    pool_uuid: &str,
    name: &VolumeName,
) -> Result<Option<VolumeRow>, Error> {
    let fail = |source| Error::store("read", path)(source);
    let mut statement = connection.prepare_cached(VOLUME).map_err(fail)?;
    let mut rows = statement.query([pool.as_ref(), pool_uuid, name.as_ref()]).map_err(fail)?;
    rows.next().map_err(fail)?.map(|row| volume_row(row, path)).transpose()
}

fn volume_row(row: &Row<'_>, path: &Path) -> Result<VolumeRow, Error> {
    let fail = |source| Error::store("read", path)(source);
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
        was: row
            .get::<_, Option<String>>("was")
            .map_err(fail)?
            .map(|was| name("volumes.was", was))
            .transpose()?,
    })
}

fn phase(row: &Row<'_>, path: &Path) -> Result<Phase, Error> {
    match row.get_ref("phase").map_err(Error::store("read", path))? {
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
