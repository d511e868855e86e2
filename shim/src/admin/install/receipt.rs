//! What configurations were before the runtime was installed in them, so that `uninstall` gives them back to the byte.
//!
//! One file, `install.json` in the state directory, which only root may read: configurations can hold passwords. Where
//! it is lost `uninstall` still finds the runtime by its name; only a default that another runtime had is forgotten.

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
#[error("{step} {path}: {source}")]
pub struct ReceiptError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its text without the runtime; none where there was no file.
    pub before: Option<String>,
    /// The SHA-256 of the text that `install` wrote.
    after: String,
}

impl Receipt {
    /// Of a text that is replaced by another.
    pub fn new(before: Option<String>, after: &str) -> Self {
        Self { before, after: digest(after) }
    }

    /// Whether nobody has changed what `install` wrote.
    pub fn is_for(&self, text: &str) -> bool {
        self.after == digest(text)
    }
}

/// All of them, by the configuration's path.
pub type Receipts = BTreeMap<PathBuf, Receipt>;

/// Only one process at a time edits configurations, as long as the value lives.
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

/// What the file says now.
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

/// Replaces the file, which is on the disk then; without receipts there is none.
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
