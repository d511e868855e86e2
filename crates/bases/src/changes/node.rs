//! One inode, held by a descriptor that does not open it: enough to read its attributes and to set them.

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

/// A device and inode number, which no other file has while the walk lasts.
pub(super) type Inode = (u64, u64);

pub(super) fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

/// Opens a directory for reading.
pub(super) fn directory(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

/// Opens the parent of a directory.
pub(super) fn above(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c"..", flags, Mode::empty())
}

/// Opens a regular file. With `O_NONBLOCK` the open does not wait even for a FIFO, but callers open only regular files.
pub(super) fn file(dir: BorrowedFd<'_>, name: &CStr, access: OFlags) -> Result<OwnedFd, Errno> {
    let file = open(dir, name, access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(file)
}

/// The status of `name`; of a link, the link itself. None if there is no such name.
pub(super) fn look(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some),
    }
}

/// The bytes that a file takes on the disk. `st_blocks` counts units of 512 bytes, whatever the file system's block size is
/// (stat(3type)).
pub(super) fn on_disk(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// The file type in the status.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlay's sign for "removed". Nobody can make this sign through an overlay (mknod(2) there gives EPERM).
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The names in a directory, in no order, read piece by piece: a container can make more names than memory has room for.
///
/// Removing names meanwhile hides none of the other names (readdir(3p)).
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

/// An inode of any type, held by a descriptor that opens nothing: no driver of a device is called, and a FIFO does not block.
#[derive(Debug)]
pub(super) struct Node {
    fd: OwnedFd,
    /// A path that leads to the inode itself, also to a symbolic link (proc(5), `/proc/PID/fd`).
    path: CString,
    /// The status of the inode.
    pub(super) stat: Stat,
}

impl Node {
    /// The inode that has this name in a directory.
    pub(super) fn named(dir: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        Self::of(open(dir, name, OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    /// The inode of an open directory.
    pub(super) fn directory(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::of(rustix::io::fcntl_dupfd_cloexec(dir, 0)?)
    }

    /// The inode that an open descriptor has.
    pub(super) fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        let path = CString::new(by_descriptor(&fd).into_os_string().into_vec());
        Ok(Self { fd, path: path.map_err(|_| Errno::INVAL)?, stat })
    }

    /// Opens the content of a regular file: of this inode, also if its name now means another inode. A container that ended or
    /// is paused may share its directories with a container that runs.
    pub(super) fn open(&self, access: OFlags) -> Result<OwnedFd, Errno> {
        if kind(&self.stat) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(self.path(), flags, Mode::empty())
    }

    /// A path for the calls that take no `O_PATH` descriptor.
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
