//! The init layer: the files that an engine expects at the top of every root. A base has them, so that nothing must be made in
//! a base later.
//!
//! Docker makes these files in a layer of its own between image and container (moby: daemon/initlayer/setup_unix.go). It first
//! unlinks each component of each path, which removes a file or a symbolic link of the image and keeps a directory. Then it
//! makes what is missing.
//!
//! An image may be hostile. So each step opens one component of a path, in a directory that is open already, and follows no
//! symbolic link: no link of the image leads out of the tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::path::Arg;
use sharedroot_format::Owner;
use sharedroot_format::base::FIXED_TIME;

use super::top::ROOT_MODE;
use crate::error::MakeError;

/// Which files a base gets above the layers of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InitFiles {
    /// The files of Docker's init layer, which replace files and symbolic links of the image.
    AsDocker,
    /// The usual mount points, where the image has no file of the name.
    MountPoints,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum InitFile {
    Dir(&'static str, &'static [InitFile]),
    File(&'static str),
    Link(&'static str, &'static str),
}

impl InitFile {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Dir(name, _) | Self::File(name) | Self::Link(name, _) => name,
        }
    }
}

const DEV: &[InitFile] =
    &[InitFile::Dir("pts", &[]), InitFile::Dir("shm", &[]), InitFile::File("console")];
const ETC: &[InitFile] =
    &[InitFile::File("resolv.conf"), InitFile::File("hosts"), InitFile::File("hostname")];
const DOCKER_ETC: &[InitFile] = &[
    InitFile::File("resolv.conf"),
    InitFile::File("hosts"),
    InitFile::File("hostname"),
    InitFile::Link("mtab", "/proc/mounts"),
];
// The default configurations of containerd and podman mount on /run, too.
const MOUNT_POINTS: &[InitFile] = &[
    InitFile::Dir("run", &[]),
    InitFile::Dir("dev", DEV),
    InitFile::Dir("proc", &[]),
    InitFile::Dir("sys", &[]),
    InitFile::Dir("etc", ETC),
];
pub(super) const AS_DOCKER: &[InitFile] = &[
    InitFile::Dir("dev", DEV),
    InitFile::Dir("proc", &[]),
    InitFile::Dir("sys", &[]),
    InitFile::Dir("etc", DOCKER_ETC),
    InitFile::File(".dockerenv"),
];

/// Makes the init files in the tree below the directory `root`.
pub(super) fn make(root: BorrowedFd<'_>, which: InitFiles, owner: Owner) -> Result<(), MakeError> {
    let maker = Maker { replace: which == InitFiles::AsDocker, owner };
    let entries = if maker.replace { AS_DOCKER } else { MOUNT_POINTS };
    maker.fill(root, Path::new("/"), entries, fixed_times())
}

/// Makes the files of Docker's init layer in the tree below the directory `root`, for containers whose root user is the host's.
///
/// # Errors
/// [`MakeError::Init`].
pub fn make_docker_init_files(root: BorrowedFd<'_>) -> Result<(), MakeError> {
    make(root, InitFiles::AsDocker, Owner::ROOT)
}

struct Maker {
    replace: bool,
    owner: Owner,
}

impl Maker {
    /// Makes `entries` in `dir`. Then sets the times of `dir`: those that it had before, or fixed ones.
    fn fill(
        &self,
        dir: BorrowedFd<'_>,
        path: &Path,
        entries: &[InitFile],
        times: Timestamps,
    ) -> Result<(), MakeError> {
        for entry in entries {
            match *entry {
                InitFile::Dir(name, below) => self.directory(dir, &path.join(name), name, below)?,
                InitFile::File(name) => self.file(dir, &path.join(name), name)?,
                InitFile::Link(name, target) => self.link(dir, &path.join(name), name, target)?,
            }
        }
        rustix::fs::futimens(dir, &times).map_err(failed("set the times of", path))
    }

    fn directory(
        &self,
        parent: BorrowedFd<'_>,
        path: &Path,
        name: &str,
        below: &[InitFile],
    ) -> Result<(), MakeError> {
        match open_directory(parent, name) {
            Ok(_) if below.is_empty() => return Ok(()),
            Ok(dir) => {
                let stat = rustix::fs::fstat(&dir).map_err(failed("stat", path))?;
                let mtime = Timespec {
                    tv_sec: stat.st_mtime,
                    tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
                };
                let times = Timestamps { last_modification: mtime, ..fixed_times() };
                return self.fill(dir.as_fd(), path, below, times);
            }
            Err(Errno::NOENT) => {}
            // A file, or a symlink: O_DIRECTORY with O_NOFOLLOW has one error for both.
            Err(Errno::NOTDIR | Errno::LOOP) if self.replace => {
                self.unlink(parent, path, name)?;
            }
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(failed("open", path)(errno)),
        }
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(ROOT_MODE))
            .map_err(failed("make directory", path))?;
        let dir = open_directory(parent, name).map_err(failed("open", path))?;
        self.own(dir.as_fd(), path)?;
        self.fill(dir.as_fd(), path, below, fixed_times())
    }

    fn file(&self, parent: BorrowedFd<'_>, path: &Path, name: &str) -> Result<(), MakeError> {
        if self.replace {
            self.unlink(parent, path, name)?;
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(ROOT_MODE);
        let file = match rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(failed("make file", path)(errno)),
        };
        self.own(file.as_fd(), path)?;
        rustix::fs::futimens(&file, &fixed_times()).map_err(failed("set the times of", path))
    }

    fn link(
        &self,
        parent: BorrowedFd<'_>,
        path: &Path,
        name: &str,
        target: &str,
    ) -> Result<(), MakeError> {
        if self.replace {
            self.unlink(parent, path, name)?;
        }
        match rustix::fs::symlinkat(target, parent, name) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(failed("make link", path)(errno)),
        }
        let (uid, gid) = self.ids();
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("own", path))?;
        rustix::fs::utimensat(parent, name, &fixed_times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the times of", path))
    }

    /// Removes a name as Docker does: never a directory, and a missing name is no error.
    fn unlink(&self, parent: BorrowedFd<'_>, path: &Path, name: &str) -> Result<(), MakeError> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(errno) => Err(failed("unlink", path)(errno)),
        }
    }

    /// Sets the owner and the mode. The umask has changed the mode that was given at creation.
    fn own(&self, fd: BorrowedFd<'_>, path: &Path) -> Result<(), MakeError> {
        let (uid, gid) = self.ids();
        rustix::fs::fchown(fd, uid, gid).map_err(failed("own", path))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(ROOT_MODE))
            .map_err(failed("set the mode of", path))
    }

    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))
    }
}

/// Opens a directory, and no symbolic link to one.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn fixed_times() -> Timestamps {
    let fixed = Timespec { tv_sec: FIXED_TIME, tv_nsec: 0 };
    Timestamps { last_access: fixed, last_modification: fixed }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(Errno) -> MakeError {
    let path = PathBuf::from(path);
    move |errno| MakeError::Init { path, step, source: errno.into() }
}

#[cfg(test)]
#[path = "init_layer_tests.rs"]
mod tests;
