//! The texts of configurations before the runtime was installed in them, with which `uninstall` restores every byte.
//!
//! The receipts are in one file, `install.json` in the state directory, which only root may read: configurations can
//! contain passwords. If the file is lost, `uninstall` still finds the runtime by its name; only the earlier default
//! runtime is unknown then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sharedroot_format::Digest;
use sharedroot_sys::new_file;

/// The file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}")]
pub struct ReceiptError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The receipt of one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The text without the runtime; `None` if there was no file.
    pub before: Option<String>,
    /// The SHA-256 of the text that `install` wrote.
    after: String,
}

impl Receipt {
    /// The receipt of a text that is replaced by another.
    pub fn new(before: Option<String>, after: &str) -> Self {
        Self { before, after: digest(after) }
    }

    /// Whether the file still has the text that `install` wrote.
    pub fn is_for(&self, text: &str) -> bool {
        self.after == digest(text)
    }
}

/// All receipts, by the configuration's path.
pub type Receipts = BTreeMap<PathBuf, Receipt>;

/// A lock: while the value lives, no other process edits configurations.
///
/// # Errors
/// [`ReceiptError`].
pub fn lock(run_dir: &Path) -> Result<File, ReceiptError> {
    let path = run_dir.join("lock-install");
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}

/// Reads the receipts.
///
/// # Errors
/// [`ReceiptError`].
pub fn read(state_dir: &Path) -> Result<Receipts, ReceiptError> {
    let path = state_dir.join("install.json");
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Receipts::default()),
        Err(source) => Err(failed("read", &path)(source)),
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| failed("read", &path)(error.into()))
        }
    }
}

/// Replaces the file; afterwards it is on the disk. Without receipts the file is removed.
///
/// # Errors
/// [`ReceiptError`].
pub fn write(state_dir: &Path, receipts: &Receipts) -> Result<(), ReceiptError> {
    let path = state_dir.join("install.json");
    if receipts.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        };
    }
    let text = serde_json::to_vec_pretty(receipts).map_err(io::Error::from);
    let written = text.and_then(|text| new_file::write_durably(&path, &text));
    written.map_err(failed("write", &path))
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ReceiptError + 'a {
    move |source| ReceiptError { step, path: path.to_owned(), source }
}

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()
}
