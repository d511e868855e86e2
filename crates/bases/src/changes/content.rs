//! The bytes of a regular file. A hole is copied as a hole.

use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// The number of bytes in one read.
const CHUNK: usize = 1 << 20;

/// Two buffers of a chunk, allocated once.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Buffers {
    /// Whether two files of `size` bytes have the same content.
    pub(super) fn same(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
    ) -> Result<bool, Errno> {
        let mut at = 0;
        while at < size {
            // Where both files have a hole, their content is the same.
            at = data(from, at, size)?.min(data(to, at, size)?);
            // Not beyond the next hole of both: a container gets a hole of any size for nothing, and reading it costs the host.
            let hole = hole(from, at, size)?.max(hole(to, at, size)?);
            let end = size.min(at + CHUNK as u64);
            // A file that became shorter has no end of its data behind `at`.
            let end = if hole > at { hole.min(end) } else { end };
            if !self.alike(from, to, at, end)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    /// Makes `to` hold the `size` bytes of `from`, and writes only the chunks that differ. Nothing is read from a `new` file.
    pub(super) fn copy(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
        new: bool,
    ) -> Result<(), Errno> {
        rustix::fs::ftruncate(to, size)?;
        let mut at = 0;
        while at < size {
            let begin = data(from, at, size)?;
            if !new && begin > at && data(to, at, begin)? < begin {
                clear(to, at, begin)?;
            }
            let end = hole(from, begin, size)?.min(begin + CHUNK as u64);
            let alike = if new {
                read(from, &mut self.from, begin, end)?;
                false
            } else {
                self.alike(from, to, begin, end)?
            };
            if !alike {
                write(to, &self.from, begin)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Reads one chunk of both files, and compares. A file that became shorter counts as filled up with zeros.
    fn alike(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        at: u64,
        end: u64,
    ) -> Result<bool, Errno> {
        read(from, &mut self.from, at, end)?;
        read(to, &mut self.to, at, end)?;
        Ok(self.from == self.to)
    }
}

fn read(file: BorrowedFd<'_>, buffer: &mut Vec<u8>, at: u64, end: u64) -> Result<(), Errno> {
    let wanted = usize::try_from(end - at).map_err(|_| Errno::OVERFLOW)?;
    buffer.clear();
    buffer.resize(wanted, 0);
    let mut done = 0;
    while done < wanted {
        match rustix::io::pread(file, &mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn write(file: BorrowedFd<'_>, bytes: &[u8], at: u64) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], at + done as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(more) => done += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Makes the range read as zeros: a hole, or written zeros where the file system knows no holes.
fn clear(file: BorrowedFd<'_>, at: u64, end: u64) -> Result<(), Errno> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, punch, at, end - at) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        punched => return punched,
    }
    let zeros = vec![0; CHUNK];
    let mut at = at;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        write(file, &zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

/// The offset of the next data at or after `at`; `end` if there is no data before `end`.
fn data(file: BorrowedFd<'_>, at: u64, end: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(found) => Ok(found.min(end)),
        Err(Errno::NXIO) => Ok(end),
        // A file system that does not report holes: everything counts as data.
        Err(Errno::INVAL) => Ok(at),
        Err(errno) => Err(errno),
    }
}

/// The offset of the next hole after `at`, at most `end`.
fn hole(file: BorrowedFd<'_>, at: u64, end: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Hole(at)) {
        Ok(found) => Ok(found.min(end)),
        Err(Errno::NXIO | Errno::INVAL) => Ok(end),
        Err(errno) => Err(errno),
    }
}
