//! Removes a tree of any depth and width.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::cursor::Cursor;
use super::node::{kind, look, names};
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
    let mut cursor = Cursor::at_top(dir)?;
    cursor.down(name)?;
    // Of each directory from `name` down to the cursor, how many directories it still holds.
    let mut way = vec![empty(cursor.here(), pending)?];
    while let Some(below) = way.last_mut() {
        if *below > 0 {
            *below -= 1;
            let (next, _) = pending.pop()?.ok_or(Errno::IO)?;
            cursor.down(&next)?;
            way.push(empty(cursor.here(), pending)?);
        } else if let Some(done) = cursor.name().map(CStr::to_owned) {
            way.pop();
            cursor.up_to(way.len())?;
            if cursor.depth() < way.len() {
                return Err(Errno::STALE);
            }
            rustix::fs::unlinkat(cursor.here(), &done, AtFlags::REMOVEDIR)?;
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
