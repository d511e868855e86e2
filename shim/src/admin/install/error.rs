//! Why a configuration is left unchanged.

use std::io;
use std::path::PathBuf;

use sharedroot_sys::chain::chain;

use super::receipt::ReceiptError;
use crate::admin::containerd_shim::{PLACES, PROGRAM};
use crate::admin::snapshotter;

/// The text cannot be edited reliably.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is not JSON. dockerd accepts no comments either.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// The text is not TOML.
    #[error("it is not TOML: {}", .0.to_string().trim_end())]
    Toml(Box<toml_edit::TomlError>),
    /// A key is written in a form that cannot be edited.
    #[error("{key} is not {wanted}")]
    Shape {
        /// The key, with its path from the top.
        key: String,
        /// The form that could be edited.
        wanted: &'static str,
    },
    /// Programs differ in how they read a key that is given twice.
    #[error("{key} is there twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// The version is newer than those that this program knows.
    #[error("version {version} of containerd's configuration is not known")]
    Version {
        /// The version in the file.
        version: i64,
    },
}

/// The excerpt of the text ends with an empty line, which a message has no use for: so the cause is no source.
impl From<Box<toml_edit::TomlError>> for EditError {
    fn from(error: Box<toml_edit::TomlError>) -> Self {
        Self::Toml(error)
    }
}

/// `install` or `uninstall` failed. The configuration is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The text of the file cannot be edited.
    #[error("edit {path}: {}; correct the file, or {by_hand}", chain(.cause))]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why the text cannot be edited.
        cause: EditError,
        /// How a user can make the change by hand.
        by_hand: String,
    },
    /// An operation on the file failed.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The path is a link to a missing file, a directory or a device.
    #[error("{path} is {what}: give the configuration itself with --config-file")]
    NoFile {
        /// The path that was given.
        path: PathBuf,
        /// What the path is.
        what: &'static str,
    },
    /// podman starts containers itself, by an OCI runtime's commands.
    #[error("podman has no containerd, and so no shims: leave --shim out")]
    NoShims,
    /// containerd would not start a container.
    #[error(
        "{PROGRAM} is in none of {}, where containerd looks for it: install it there, beside this program",
        PLACES.join(", ")
    )]
    ShimNotFound,
    /// podman stores images itself.
    #[error("podman has no containerd, and so no snapshotters: leave --snapshotter out")]
    NoSnapshotters,
    /// containerd would call a socket where nobody answers.
    #[error(
        "{} is in none of {}: install it and its systemd units first",
        snapshotter::PROGRAM,
        PLACES.join(", ")
    )]
    SnapshotterNotFound,
    /// JSON and TOML can only contain UTF-8.
    #[error("the path {path:?} is not UTF-8: use another place")]
    Name {
        /// The path of this program, or of the state directory.
        path: PathBuf,
    },
    /// The receipt cannot be read or written.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}
