//! A lock on one byte of a file. Many locks share one file, so that no lock file is left when the locked thing is gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, F_UNLCK, F_WRLCK, SEEK_SET};

/// A lock on one byte of a file, owned by an open file description (fcntl_locking(2)). So threads exclude each other as
/// processes do, and the kernel releases the lock of a process that dies. The file stays empty and is never removed. Drop
/// releases the lock.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct ByteLock {
    file: File,
    byte: i64,
}

impl ByteLock {
    /// Takes the lock of `byte` in the file at `path`, which is created if it is missing. Waits until its holder releases it.
    ///
    /// # Errors
    /// The errors of open(2) and fcntl(2).
    pub fn wait(path: &Path, byte: i64) -> io::Result<Self> {
        let lock = Self::at(path, byte)?;
        loop {
            match fcntl(&lock.file, FcntlArg::F_OFD_SETLKW(&lock.range(F_WRLCK))) {
                Ok(_) => return Ok(lock),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes the lock as [`Self::wait`] does, but does not wait: `None` if another holder has the lock.
    ///
    /// # Errors
    /// The errors of open(2) and fcntl(2).
    pub fn try_lock(path: &Path, byte: i64) -> io::Result<Option<Self>> {
        let lock = Self::at(path, byte)?;
        match fcntl(&lock.file, FcntlArg::F_OFD_SETLK(&lock.range(F_WRLCK))) {
            Ok(_) => Ok(Some(lock)),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody holds the lock of `byte` in the file at `path`. Makes no file, and takes no lock.
    ///
    /// # Errors
    /// The errors of open(2) and fcntl(2), except that of a missing file.
    pub fn is_held(path: &Path, byte: i64) -> io::Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let lock = Self { file, byte };
        let mut found = lock.range(F_WRLCK);
        fcntl(&lock.file, FcntlArg::F_OFD_GETLK(&mut found))?;
        Ok(i32::from(found.l_type) != F_UNLCK)
    }

    fn at(path: &Path, byte: i64) -> io::Result<Self> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        how.open(path).map(|file| Self { file, byte })
    }

    fn range(&self, kind: i32) -> libc::flock {
        let (l_type, l_whence) = (kind as i16, SEEK_SET as i16);
        libc::flock { l_type, l_whence, l_start: self.byte, l_len: 1, l_pid: 0 }
    }
}

impl AsRef<File> for ByteLock {
    fn as_ref(&self) -> &File {
        &self.file
    }
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        // Closing the file is not enough: between fork and exec, a child of another thread still has the file open.
        if let Err(errno) = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&self.range(F_UNLCK))) {
            tracing::debug!(%errno, "cannot release a lock; it is released when its file is closed");
        }
    }
}
