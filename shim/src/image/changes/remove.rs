//! A tree taken away, however deep it is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::node::{above, directory, kind, look, names};

/// Removes `name` and all below it. What is gone already is no error.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    if unlink(dir, name)? {
        return Ok(());
    }
    // The way from `dir` down to `here`, each with the directories that it still holds.
    let mut here = directory(dir, name)?;
    let mut way = vec![(name.to_owned(), empty(here.as_fd())?)];
    while let Some((_, below)) = way.last_mut() {
        if let Some(next) = below.pop() {
            here = directory(here.as_fd(), &next)?;
            let below = empty(here.as_fd())?;
            way.push((next, below));
        } else if let Some((done, _)) = way.pop() {
            here = above(here.as_fd())?;
            rustix::fs::unlinkat(&here, &done, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Removes what is no directory, and returns the names of what is one.
fn empty(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut below = Vec::new();
    for name in names(dir)? {
        if !unlink(dir, &name)? {
            below.push(name);
        }
    }
    Ok(below)
}

/// Removes a name unless it is a directory's: false.
fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match look(dir, name)? {
        Some(stat) if kind(&stat) == FileType::Directory => Ok(false),
        Some(_) => rustix::fs::unlinkat(dir, name, AtFlags::empty()).map(|()| true),
        None => Ok(true),
    }
}
