//! A snapshot as the table has it.

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use sharedroot_dm::Bytes;

use crate::filter::Fields;
use crate::key::Key;
use crate::labels::Labels;

/// The number of a row. It names the snapshot's volume, and is never given out again. A child's number is larger than its
/// parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(u64);

impl RowId {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The row of this number, which a volume's name has.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

impl FromSql for RowId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = u64::try_from(i64::column_result(value)?);
        number.map(Self).map_err(|_| FromSqlError::InvalidType)
    }
}

impl ToSql for RowId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number = i64::try_from(self.0);
        number.map(Into::into).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
    }
}

/// What a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Written by a client.
    Active,
    /// Read by a client.
    View,
    /// Never written again; others can be made of it.
    Committed,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Active, Self::View, Self::Committed];

    /// The word of the table and of filters.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::View => "view",
            Self::Committed => "committed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|kind| kind.text() == text).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.text().into())
    }
}

/// A moment, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub(super) i64);

impl Time {
    const SECOND: i64 = 1_000_000_000;

    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Whole seconds, and the nanoseconds after them.
    #[must_use]
    pub fn parts(self) -> (i64, i32) {
        let nanos = i32::try_from(self.0.rem_euclid(Self::SECOND)).expect("less than a second");
        (self.0.div_euclid(Self::SECOND), nanos)
    }
}

/// The parent of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its row.
    pub id: RowId,
    /// Its name.
    pub name: Key,
    /// The row whose volume has its files: itself, or the row that it shows.
    pub volume: RowId,
    /// What that volume's mappings take; none as long as nobody measured it.
    pub mapped: Option<Bytes>,
}

/// A snapshot without its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: RowId,
    /// Its key, or the name of a committed snapshot.
    pub name: Key,
    /// What it is.
    pub kind: Kind,
    /// The committed snapshot of which it was made; none for one that began empty.
    pub parent: Option<Parent>,
    /// When it was made, or committed.
    pub created: Time,
    /// When its labels were changed last.
    pub updated: Time,
    /// What its volume's mappings take; none as long as nobody measured it.
    pub mapped: Option<Bytes>,
    /// The row whose volume it shows read-only, because it has none of its own.
    pub shows: Option<RowId>,
}

/// A snapshot with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The snapshot.
    pub row: Row,
    /// Its labels.
    pub labels: Labels,
}

impl Fields for Info {
    /// The fields that containerd's own snapshotters have (containerd, `core/snapshots/storage`, `adaptSnapshot`).
    fn field(&self, path: &[Vec<u8>]) -> Option<Cow<'_, [u8]>> {
        let text = |text: &'_ str| Some(Cow::Owned(text.as_bytes().to_owned()));
        match path.first()?.as_slice() {
            b"name" => text(self.row.name.as_ref()),
            b"parent" => text(self.row.parent.as_ref().map_or("", |parent| parent.name.as_ref())),
            b"kind" => text(self.row.kind.text()),
            b"labels" => {
                let key = path[1..].join(&b'.');
                text(self.labels.get(std::str::from_utf8(&key).ok()?)?)
            }
            _ => None,
        }
    }
}
