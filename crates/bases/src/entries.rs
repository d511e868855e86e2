//! Directories of sharedroot in which a file's name says what the file is.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;

/// The names in a directory that parse as `T`. Other names are skipped. A missing directory has no names.
///
/// # Errors
/// The operating system's error.
pub(crate) fn entries<T: FromStr>(dir: &Path) -> io::Result<Vec<T>> {
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        list => list?,
    };
    let mut found = Vec::new();
    for entry in list {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    Ok(found)
}
