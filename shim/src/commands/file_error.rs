//! Why a file that a caller named cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::lifecycle::LifecycleError;

pub fn file_error(step: &'static str, path: &Path, source: io::Error) -> LifecycleError {
    LifecycleError::File { step, path: path.to_owned(), source }
}

pub fn read_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> LifecycleError {
    let path = path.into();
    move |source| LifecycleError::File { step: "read", path, source }
}
