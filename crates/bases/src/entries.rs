//! Directories of ours in which a name says what the file is.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;

/// The names in a directory that are what they should be; none where there is no such directory.
///
/// # Errors
/// What the operating system says.
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
