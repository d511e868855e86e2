//! The snapshotter's table of snapshots, as other programs read it. Only `sharedrootd` writes the table (`snapshotter/src/table`).
//!
//! A reader changes no row, and waits for no writer: SQLite's WAL shows it the table as it was after the last commit.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sharedroot_format::{TableTag, VolumeName};

/// The name of the table's file in the state directory.
pub const FILE: &str = "snapshots.db";
/// The number of the schema that this version knows.
pub const SCHEMA: i64 = 2;
/// containerd's label with the name by which a client pulled an image (containerd, `pkg/snapshotters/annotations.go`).
const IMAGE: &str = "containerd.io/snapshot/cri.image-ref";
/// How long a reader waits for a process that sets up the table's memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotTableError {
    /// SQLite cannot read it.
    #[error("cannot read the table of snapshots {}", path.display())]
    Read {
        /// The table's file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// Its directory cannot be read.
    #[error("cannot find the table of snapshots {}", path.display())]
    Find {
        /// The table's file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another version of sharedroot wrote the table.
    #[error("cannot read the table of snapshots {}: its schema is {found}, and this program knows {SCHEMA}; use the version that wrote it", path.display())]
    Other {
        /// The table's file.
        path: PathBuf,
        /// The number of its schema.
        found: i64,
    },
}

/// What a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotKind {
    /// Committed: the layer of an image.
    Layer,
    /// Written, by a container or while an image is unpacked.
    Active,
    /// Read.
    View,
}

/// A snapshot as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRow {
    /// What it is.
    pub kind: SnapshotKind,
    /// Whether clients see it.
    pub is_listed: bool,
    /// Whether it has no volume, because it shows that of another one.
    pub shows: bool,
}

/// The names of a snapshot. Clients chose them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotName {
    /// `NAMESPACE/NUMBER/NAME`; the last part of the name of an image's layer is its chain ID.
    pub name: String,
    /// The name by which a client pulled the image.
    pub image: Option<String>,
}

/// The open table, at one moment.
#[derive(Debug)]
pub struct SnapshotTable {
    path: PathBuf,
    connection: Connection,
    tag: TableTag,
}

impl SnapshotTable {
    /// Opens the table in the state directory, if there is one.
    ///
    /// # Errors
    /// [`SnapshotTableError`].
    pub fn open(state_dir: &Path) -> Result<Option<Self>, SnapshotTableError> {
        let path = state_dir.join(FILE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(SnapshotTableError::Find { path, source }),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let meta = Connection::open_with_flags(&path, flags).and_then(|connection| {
            connection.busy_timeout(PATIENCE)?;
            // All queries see the table as it is at the first one.
            connection.execute_batch("BEGIN")?;
            let made = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'";
            if connection.query_row(made, [], |_| Ok(())).optional()?.is_none() {
                return Ok(None);
            }
            let meta = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (schema, tag) = connection.query_row("SELECT schema, tag FROM meta", [], meta)?;
            Ok(Some((connection, schema, tag)))
        });
        match meta {
            // A daemon has made the file, and not yet the tables in it.
            Ok(None) => Ok(None),
            Ok(Some((connection, SCHEMA, tag))) => {
                Ok(Some(Self { path, connection, tag: TableTag::new(tag) }))
            }
            Ok(Some((_, found, _))) => Err(SnapshotTableError::Other { path, found }),
            Err(source) => Err(SnapshotTableError::Read { path, source }),
        }
    }

    /// All snapshots, by the names of their volumes.
    ///
    /// # Errors
    /// [`SnapshotTableError::Read`].
    pub fn rows(&self) -> Result<BTreeMap<VolumeName, SnapshotRow>, SnapshotTableError> {
        let query = "SELECT id, kind, space <> '', shows IS NOT NULL FROM snapshots";
        let read = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| {
                let kind = match row.get_ref(1)?.as_str()? {
                    "committed" => SnapshotKind::Layer,
                    "active" => SnapshotKind::Active,
                    "view" => SnapshotKind::View,
                    _ => return Err(FromSqlError::InvalidType.into()),
                };
                let id = u64::try_from(row.get::<_, i64>(0)?);
                let id = id.map_err(|_| FromSqlError::InvalidType)?;
                let volume = VolumeName::of_layer(self.tag, id);
                Ok((volume, SnapshotRow { kind, is_listed: row.get(2)?, shows: row.get(3)? }))
            });
            rows?.collect::<Result<_, rusqlite::Error>>()
        };
        read().map_err(|source| SnapshotTableError::Read { path: self.path.clone(), source })
    }

    /// The names of the snapshot with this volume. For the volume with Docker's files above a layer: the names of the layer.
    ///
    /// # Errors
    /// [`SnapshotTableError::Read`].
    pub fn name(&self, volume: &VolumeName) -> Result<Option<SnapshotName>, SnapshotTableError> {
        let id = volume.layer_of(self.tag).and_then(|id| i64::try_from(id).ok());
        let Some(id) = id else { return Ok(None) };
        let query = "SELECT n.name, l.value FROM snapshots AS s
            JOIN snapshots AS n ON n.id = iif(s.space = '', s.parent, s.id)
            LEFT JOIN labels AS l ON l.snapshot = n.id AND l.key = ?2 WHERE s.id = ?1";
        let names =
            |row: &rusqlite::Row<'_>| Ok(SnapshotName { name: row.get(0)?, image: row.get(1)? });
        let read =
            || self.connection.prepare_cached(query)?.query_row((id, IMAGE), names).optional();
        read().map_err(|source| SnapshotTableError::Read { path: self.path.clone(), source })
    }

    /// The tag of the table, which is part of the names of its volumes.
    #[must_use]
    pub fn tag(&self) -> TableTag {
        self.tag
    }
}
