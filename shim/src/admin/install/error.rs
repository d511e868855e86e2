//! Why a configuration is left as it is.

use std::io;
use std::path::PathBuf;

use super::receipt::ReceiptError;

/// A text that cannot be edited for certain.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No JSON. dockerd reads no comments either.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No TOML.
    #[error("it is not TOML: {}", .0.to_string().trim_end())]
    Toml(#[from] Box<toml_edit::TomlError>),
    /// A key is written in a way that is not edited.
    #[error("{key} is not {wanted}")]
    Shape {
        /// The key, from the top.
        key: String,
        /// How it would have to be written.
        wanted: &'static str,
    },
    /// Readers differ in what that means.
    #[error("{key} is there twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// containerd's next one.
    #[error("version {version} of containerd's configuration is not known")]
    Version {
        /// What the file says.
        version: i64,
    },
}

/// `install` or `uninstall` that failed. The configuration is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The text of the file.
    #[error("edit {path}: {source}; mend it, or {by_hand}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        source: EditError,
        /// The same by hand.
        by_hand: String,
    },
    /// The file itself.
    #[error("{step} {path}: {source}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A link that leads nowhere, a directory, a device.
    #[error("{path} is {what}: give the configuration itself with --config-file")]
    NoFile {
        /// What was given.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Neither JSON nor TOML could hold it.
    #[error("the path of this program, {path:?}, is not UTF-8: install it elsewhere")]
    Name {
        /// The executable.
        path: PathBuf,
    },
    /// What was before.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}
