//! The output that an administrator names: a stream that is there, or a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::by_descriptor::by_descriptor;
use crate::new_file::{NewFile, place};

/// The output that an administrator named.
#[derive(Debug)]
pub enum Output {
    /// A pipe or a device, such as `/dev/stdout`. It is written to, and not replaced.
    Stream(File),
    /// A new file, which may take the place of an old file.
    File(NewFile),
}

impl Output {
    /// Opens the output of `--output PATH`. Where only root can write the directory (`/dev/stdout`), a link is followed, and a
    /// pipe or a terminal of any user is accepted. In other directories a link is replaced, and a pipe must belong to root,
    /// because its owner would read what is written. A block device is never written to.
    ///
    /// # Errors
    /// The operating system's error; ENXIO for a FIFO that nobody reads.
    pub fn at(path: &Path, mode: u32) -> io::Result<Self> {
        let (dir, name) = place(path)?;
        let trusted = {
            let above = rustix::fs::fstat(&dir)?;
            above.st_uid == 0 && above.st_mode & 0o022 == 0
        };
        let follow = if trusted { OFlags::empty() } else { OFlags::NOFOLLOW };
        // O_PATH does not open a device or a FIFO, so this has no effect on it.
        let flags = OFlags::PATH | OFlags::CLOEXEC | follow;
        let found = match rustix::fs::openat(&dir, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return NewFile::new_name(&dir, &name, mode).map(Self::File),
            found => found?,
        };
        let is = rustix::fs::fstat(&found)?;
        match FileType::from_raw_mode(is.st_mode) {
            FileType::RegularFile | FileType::Symlink => {
                NewFile::new_name(&dir, &name, mode).map(Self::File)
            }
            FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
            FileType::BlockDevice => Err(io::ErrorKind::InvalidInput.into()),
            _ if !trusted && is.st_uid != 0 => Err(io::ErrorKind::PermissionDenied.into()),
            _ => {
                let same = by_descriptor(&found);
                // O_NONBLOCK, so that the open does not wait for a reader: the caller may hold locks.
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let stream = rustix::fs::open(same, flags, Mode::empty())?;
                rustix::fs::fcntl_setfl(&stream, OFlags::empty())?;
                Ok(Self::Stream(stream.into()))
            }
        }
    }

    /// Writes a whole text.
    ///
    /// # Errors
    /// The operating system's error; an old file is unchanged.
    pub fn write(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(mut stream) => stream.write_all(text),
            Self::File(new) => {
                new.file().write_all(text)?;
                new.put()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_pipe_is_written_to_and_a_planted_link_to_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = File::options().read(true).write(true).open(&pipe).unwrap();
        Output::at(&pipe, 0o644).unwrap().write(b"figures").unwrap();
        let mut read = [0; 7];
        io::Read::read_exact(&mut &reader, &mut read).unwrap();
        assert_eq!(&read, b"figures");

        let others = tempfile::tempdir().unwrap();
        fs::set_permissions(&others, Permissions::from_mode(0o777)).unwrap();
        let link = others.path().join("link");
        symlink(&pipe, &link).unwrap();
        assert!(matches!(Output::at(&link, 0o644).unwrap(), Output::File(_)));
        let entries = fs::read_dir(&others).unwrap().flatten();
        assert_eq!(entries.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["link"]);
    }
}
