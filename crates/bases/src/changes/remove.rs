//! Removes a tree of any depth and width.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::node::{above, directory, kind, look, names};
use super::pending::Pending;

/// Removes `name` and everything below it. A name that does not exist is no error. Waiting names go on top of the names that
/// `pending` has.
pub(super) fn remove(
    dir: BorrowedFd<'_>,
    name: &CStr,
    pending: &mut Pending<'_>,
) -> Result<(), Errno> {
    if unlink(dir, name)? {
        return Ok(());
    }
    let height = pending.height();
    let removed = remove_directory(dir, name, pending);
    removed.and(pending.lower(height))
}

fn remove_directory(
    dir: BorrowedFd<'_>,
    name: &CStr,
    pending: &mut Pending<'_>,
) -> Result<(), Errno> {
    // The directories from `dir` down to `here`, each with the number of directories that it still holds.
    let mut here = directory(dir, name)?;
    let mut way: Vec<(CString, u64)> = vec![(name.to_owned(), empty(here.as_fd(), pending)?)];
    while let Some((_, below)) = way.last_mut() {
        if *below > 0 {
            *below -= 1;
            let (next, _) = pending.pop()?.ok_or(Errno::IO)?;
            here = directory(here.as_fd(), &next)?;
            let below = empty(here.as_fd(), pending)?;
            way.push((next, below));
        } else if let Some((done, _)) = way.pop() {
            here = above(here.as_fd())?;
            rustix::fs::unlinkat(&here, &done, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Removes everything in a directory except directories. Adds the names of directories to `pending`, and returns their number.
fn empty(dir: BorrowedFd<'_>, pending: &mut Pending<'_>) -> Result<u64, Errno> {
    let mut below = 0;
    for name in names(dir)? {
        let name = name?;
        if !unlink(dir, &name)? {
            pending.push(&name, 0)?;
            below += 1;
        }
    }
    Ok(below)
}

/// Removes a name unless it is a directory; then returns false.
fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match look(dir, name)? {
        Some(stat) if kind(&stat) == FileType::Directory => Ok(false),
        Some(_) => rustix::fs::unlinkat(dir, name, AtFlags::empty()).map(|()| true),
        None => Ok(true),
    }
}
