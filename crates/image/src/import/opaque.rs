//! Whiteouts in an opaque directory: they hide nothing, because the directory hides all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, OFlags};

use super::beneath;
use crate::waiting::Waiting;

/// Removes every whiteout in the tree below the directory `top`. Returns how many names it looked at.
///
/// Nothing that hides is made below an opaque directory, so this leaves out the opaque directories below `top`. Otherwise a
/// layer whose directories become opaque one after another would cost a walk over all of the rest for each.
pub(super) fn remove_whiteouts(top: BorrowedFd<'_>) -> io::Result<u64> {
    let mut waiting = Waiting::default();
    let mut looked_at = 0;
    loop {
        let dir = beneath::exactly(top, waiting.path(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        if waiting.depth() == 0 || !beneath::is_opaque(dir.as_fd())? {
            looked_at += remove_from(dir.as_fd(), &mut waiting)?;
        }
        if !waiting.go_on() {
            return Ok(looked_at);
        }
    }
}

fn remove_from(dir: BorrowedFd<'_>, waiting: &mut Waiting) -> io::Result<u64> {
    let mut looked_at = 0;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        looked_at += 1;
        let Some(stat) = beneath::look(dir, beneath::os(name))? else { continue };
        if beneath::is_dir(&stat) {
            waiting.push(name)?;
        } else if beneath::is_whiteout(&stat) {
            rustix::fs::unlinkat(dir, beneath::os(name), AtFlags::empty())?;
        }
    }
    Ok(looked_at)
}

#[cfg(test)]
#[path = "opaque_tests.rs"]
mod tests;
