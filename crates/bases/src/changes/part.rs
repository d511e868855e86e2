//! A file of the engine's overlay that a write-back began to make alike and then left out: what it holds is no version of the file.
//!
//! While a file is being made alike its mode says so, and a start after a write-back that did not end takes it for no copy of
//! somebody's. A file that is left out stays longer, and that mode would keep everybody from it. So it gets a mode for people,
//! and a mark, which says until when nobody else has written to it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::attributes::{MARK, UNFINISHED};
use super::node::{Node, kind};

const LENGTH: usize = size_of::<i64>() * 2;

/// The mode for a part of a file like `wanted`, where there was `before`. What it holds may be either's, and so may its owner be:
/// who may read or write only one of them gets neither, and nobody else's rights come with it.
pub(super) fn mode(wanted: &Stat, before: Option<&Stat>) -> Mode {
    let both = match before {
        // A part of a part, whose own mode is not known any more.
        Some(before) if is_unfinished(before) => 0o700,
        Some(before) => before.st_mode,
        None => 0o777,
    };
    Mode::from_raw_mode(wanted.st_mode & both & 0o777)
}

pub(super) fn is_unfinished(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_mode & 0o7777 == UNFINISHED.as_raw_mode()
}

/// Gives what is unfinished under this name the mark, and `mode` after it: without the one it does not get the other.
pub(super) fn show(to: BorrowedFd<'_>, name: &CStr, mode: Mode) -> Result<(), Errno> {
    let node = Node::named(to, name)?;
    if !is_unfinished(&node.stat) {
        return Ok(());
    }
    rustix::fs::setxattr(node.path(), MARK, &mark(&node.stat), XattrFlags::empty())?;
    rustix::fs::chmod(node.path(), mode)
}

/// Whether it has a mark, and the content that it had then.
pub(super) fn is_part(node: &Node) -> Result<bool, Errno> {
    let mut value = [0; LENGTH + 1];
    match rustix::fs::getxattr(node.path(), MARK, &mut value[..]) {
        Ok(length) => Ok(value[..length] == mark(&node.stat)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn mark(stat: &Stat) -> [u8; LENGTH] {
    let (seconds, nanoseconds) = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    let mut value = [0; LENGTH];
    value[..8].copy_from_slice(&seconds.to_le_bytes());
    value[8..].copy_from_slice(&nanoseconds.to_le_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u32) -> Stat {
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_mode = FileType::RegularFile.as_raw_mode() | mode;
        stat
    }

    #[test]
    fn a_part_lends_nobody_a_right() {
        let mode = |wanted, before: Option<u32>| {
            mode(&stat(wanted), before.map(stat).as_ref()).as_raw_mode()
        };
        assert_eq!(mode(0o644, Some(0o644)), 0o644);
        assert_eq!(mode(0o4755, Some(0o755)), 0o755);
        assert_eq!(mode(0o4777, Some(0o4755)), 0o755);
        assert_eq!(mode(0o666, Some(0o600)), 0o600);
        assert_eq!(mode(0o2755, None), 0o755);
        assert_eq!(mode(0o666, Some(0o1000)), 0o600);
    }
}
