//! Whiteouts in an opaque directory: they hide nothing, because the directory hides all.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, OFlags};

use super::beneath;

/// Removes every whiteout in the tree below the directory `top`.
pub(super) fn remove_whiteouts(top: BorrowedFd<'_>) -> io::Result<()> {
    let mut directories = vec![PathBuf::from(".")];
    while let Some(path) = directories.pop() {
        let dir = beneath::exactly(top, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Some(stat) = beneath::look(dir.as_fd(), name)? else { continue };
            if beneath::is_dir(&stat) {
                directories.push(path.join(Path::new(name)));
            } else if beneath::is_whiteout(&stat) {
                rustix::fs::unlinkat(&dir, name, AtFlags::empty())?;
            }
        }
    }
    Ok(())
}
