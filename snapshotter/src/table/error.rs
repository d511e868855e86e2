//! Why a request is refused, or the table cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::filter::BadFilter;
use crate::key::Key;
use crate::labels::BadLabels;

/// What a name was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A snapshot of any kind.
    Snapshot,
    /// The parent of a new snapshot.
    Parent,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "snapshot",
            Self::Parent => "parent",
        })
    }
}

/// A request that is refused, or a table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table cannot be read or written.
    #[error("cannot {action} the table of snapshots {}", path.display())]
    Store { action: &'static str, path: PathBuf, source: rusqlite::Error },
    /// The table's file cannot be made.
    #[error("cannot make the table of snapshots {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A later version of this program wrote the table.
    #[error("cannot open the table of snapshots {}: its schema is {found}, and this program knows {known}; install the version that wrote it", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// A row has a value that this program never writes.
    #[error("cannot read the table of snapshots {}: {value:?} is no value of {column}; restore it from a backup", path.display())]
    Value { path: PathBuf, column: &'static str, value: String },

    /// There is no such snapshot.
    #[error("there is no {what} {key}")]
    NotFound { what: What, key: Key },
    /// A snapshot of any kind has the name already.
    #[error("the snapshot {key} exists already")]
    Exists { key: Key },
    /// A snapshot is made of committed ones only.
    #[error("the parent {key} is not a committed snapshot")]
    ParentNotCommitted { key: Key },
    /// Only an active snapshot can be committed.
    #[error("cannot commit the snapshot {key}: it is not active")]
    NotActive { key: Key },
    /// A committed snapshot has no mounts.
    #[error(
        "the snapshot {key} is committed, so it has no mounts; make a view or an active snapshot of it"
    )]
    Committed { key: Key },
    /// A snapshot with children stays. containerd's tests look for the word "remove".
    #[error("cannot remove the snapshot {key}: other snapshots are made of it")]
    HasChildren { key: Key },
    /// A commit cannot give a snapshot another parent.
    #[error(
        "cannot commit the snapshot {key} with the parent {parent}: a block snapshot keeps the parent with which it was made"
    )]
    OtherParent { key: Key, parent: Key },
    /// The labels are refused.
    #[error(transparent)]
    Labels(#[from] BadLabels),
    /// A filter of a list is refused.
    #[error(transparent)]
    Filter(#[from] BadFilter),
}

impl TableError {
    /// For `map_err`: a [`TableError::Store`].
    pub(super) fn store(
        action: &'static str,
        path: &Path,
    ) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Store { action, path: path.clone(), source }
    }
}
