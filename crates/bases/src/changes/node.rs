//! One inode, held open without being opened: enough to look at it and to set what it has.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::resolve::Resolve;

fn open(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    Resolve::OneTree.open(dir, name, flags)
}

/// A directory, to be read.
pub(super) fn directory(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

/// The directory above one that was opened from it.
pub(super) fn above(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c"..", flags, Mode::empty())
}

/// A regular file. `O_NONBLOCK` would not let a FIFO stop us, but nothing else is ever asked for.
pub(super) fn file(dir: BorrowedFd<'_>, name: &CStr, access: OFlags) -> Result<OwnedFd, Errno> {
    let file = open(dir, name, access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(file)
}

/// What `name` is; a link is itself. None if there is no such name.
pub(super) fn look(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some),
    }
}

/// The type of what was looked at.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Overlay's own sign for "removed", which nobody can make on an overlay (mknod(2) there is EPERM).
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The names in a directory, in no order and one after another: a container can make more of them than memory has room for.
///
/// Names that are removed meanwhile keep none of the others away (readdir(3p)).
#[derive(Debug)]
pub(super) struct Names(rustix::fs::Dir);

/// Reads the names of a directory.
pub(super) fn names(dir: BorrowedFd<'_>) -> Result<Names, Errno> {
    Ok(Names(rustix::fs::Dir::read_from(dir)?))
}

impl Iterator for Names {
    type Item = Result<CString, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_one = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..");
        self.0.find_map(|entry| match entry {
            Ok(entry) => is_one(entry.file_name()).then(|| Ok(entry.file_name().to_owned())),
            Err(errno) => Some(Err(errno)),
        })
    }
}

/// An inode of any type, by a descriptor that opens nothing: a device stays untouched, a FIFO does
/// not block.
#[derive(Debug)]
pub(super) struct Node {
    fd: OwnedFd,
    /// Leads to the inode itself, also where it is a symbolic link (proc(5), `/proc/PID/fd`).
    path: CString,
    /// What it is.
    pub(super) stat: Stat,
}

impl Node {
    /// What has this name in a directory.
    pub(super) fn named(dir: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        Self::of(open(dir, name, OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    /// A directory that is open.
    pub(super) fn directory(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::of(rustix::io::fcntl_dupfd_cloexec(dir, 0)?)
    }

    fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        let path = CString::new(by_descriptor(&fd).into_os_string().into_vec());
        Ok(Self { fd, path: path.map_err(|_| Errno::INVAL)?, stat })
    }

    /// The content of a regular file: of this inode, whatever has its name by now. A container that has ended, or stands
    /// still, may have lent its directories to one that goes on.
    pub(super) fn read(&self) -> Result<OwnedFd, Errno> {
        if kind(&self.stat) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(self.path(), flags, Mode::empty())
    }

    /// A path for the calls that know no descriptors of this kind.
    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self) -> Result<CString, Errno> {
        rustix::fs::readlinkat(&self.fd, c"", Vec::new())
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
