//! The times of the directories of a layer, noted until the layer is complete. They are in a file: a layer may have millions of
//! directories.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use sharedroot_format::base::FIXED_TIME;

use super::beneath;
use super::tar_stream::Time;

/// A file without a name. For each directory it has the length of the path, the seconds, the nanoseconds and the path.
pub(super) struct DirectoryTimes(BufWriter<File>);

impl DirectoryTimes {
    /// Makes the file, on the file system of `dir`.
    pub(super) fn in_directory(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, ".", flags, Mode::from_raw_mode(0o600))?;
        Ok(Self(BufWriter::new(file.into())))
    }

    /// Notes the time of the directory at `path`. A later call with the same path wins.
    pub(super) fn add(&mut self, path: &Path, time: Time) -> io::Result<()> {
        let path = path.as_os_str().as_bytes();
        let length = u32::try_from(path.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_ne_bytes())?;
        self.0.write_all(&time.seconds.to_ne_bytes())?;
        self.0.write_all(&time.nanoseconds.to_ne_bytes())?;
        self.0.write_all(path)
    }

    /// Sets all times in the tree below `root`.
    pub(super) fn set_all(self, root: BorrowedFd<'_>) -> io::Result<()> {
        let mut file = self.0.into_inner()?;
        file.rewind()?;
        let mut file = BufReader::new(file);
        loop {
            let (mut length, mut seconds, mut nanoseconds) = ([0; 4], [0; 8], [0; 4]);
            match file.read_exact(&mut length) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            file.read_exact(&mut seconds)?;
            file.read_exact(&mut nanoseconds)?;
            let mut path = vec![0; u32::from_ne_bytes(length) as usize];
            file.read_exact(&mut path)?;
            let time = Timespec {
                tv_sec: i64::from_ne_bytes(seconds),
                tv_nsec: u32::from_ne_bytes(nanoseconds).into(),
            };
            let fixed = Timespec { tv_sec: FIXED_TIME, tv_nsec: 0 };
            let times = Timestamps { last_access: fixed, last_modification: time };
            // A later entry may have replaced the directory.
            let path = Path::new(OsStr::from_bytes(&path));
            match beneath::exactly(root, path, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
                Ok(dir) => rustix::fs::utimensat(&dir, "", &times, AtFlags::EMPTY_PATH)?,
            }
        }
    }
}
