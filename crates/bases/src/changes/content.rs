//! The bytes of a regular file. A hole is copied as a hole.

use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::allowance::Allowance;

/// The number of bytes in one read.
const CHUNK: usize = 1 << 20;
/// The number of bytes in a page of memory, or a part of it.
const PAGE: u64 = 4096;

/// Two buffers of a chunk, allocated once, and what the walks may still do.
#[derive(Debug)]
pub(super) struct Buffers {
    from: Vec<u8>,
    to: Vec<u8>,
    pub(super) allowance: Allowance,
}

impl Buffers {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { from: Vec::new(), to: Vec::new(), allowance }
    }

    /// Whether two files of `size` bytes have the same content.
    pub(super) fn same(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
    ) -> Result<bool, Errno> {
        self.allowance.pass(from)?;
        let (mut at, mut of_from, mut of_to) = (0, Layout::of(from), Layout::of(to));
        while at < size {
            // Where both files have a hole, their content is the same.
            let data = of_from.data(at, size)?;
            at = data.min(of_to.data(at, size)?);
            // Not beyond the next hole of both: a container gets a hole of any size for nothing, and reading it costs the host.
            let hole = of_from.hole(at, size)?;
            let end = hole.max(of_to.hole(at, size)?).min(at + CHUNK as u64);
            let read = if data == at { hole.min(end) - at } else { 0 };
            self.allowance.read(read)?;
            self.allowance.read_theirs(end - at - read)?;
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
        self.allowance.pass(from)?;
        rustix::fs::ftruncate(to, size)?;
        // What is written into `to` lies before the next `at`, so what is known of `to` behind it stays true.
        let (mut at, mut of_from, mut of_to) = (0, Layout::of(from), Layout::of(to));
        while at < size {
            let begin = of_from.data(at, size)?;
            if !new && begin > at && of_to.data(at, begin)? < begin {
                clear(to, at, begin)?;
            }
            let end = of_from.hole(begin, size)?.min(begin + CHUNK as u64);
            let alike = if new {
                read(from, &mut self.from, begin, end)?;
                false
            } else {
                self.allowance.read(end - begin)?;
                self.alike(from, to, begin, end)?
            };
            if !alike {
                self.allowance.write(end - begin)?;
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

/// Where a file has data and holes. To find data, the kernel passes each piece of the file that was allocated and not written
/// (fallocate(2)); a container can make millions of them. So what the kernel has found is asked again only behind it.
///
/// A page of such a piece is data while it is in memory, and a hole else: what the kernel says of one place changes by a read
/// nearby, and by want of memory.
#[derive(Debug)]
struct Layout<'f> {
    file: BorrowedFd<'f>,
    data: Found,
    hole: Found,
}

/// The next data or hole: there was none from `asked` up to `at`. Whether `at` itself is still one is asked again.
#[derive(Debug, Clone, Copy)]
struct Found {
    asked: u64,
    at: u64,
}

impl Found {
    /// Knows nothing.
    const NONE: Self = Self { asked: 1, at: 0 };

    /// The next one at or after `at`. Asks if this is not known.
    fn next(&mut self, at: u64, ask: impl FnOnce() -> Result<u64, Errno>) -> Result<u64, Errno> {
        if !(self.asked..self.at).contains(&at) {
            *self = Self { asked: at, at: ask()? };
        }
        Ok(self.at)
    }
}

impl<'f> Layout<'f> {
    fn of(file: BorrowedFd<'f>) -> Self {
        Self { file, data: Found::NONE, hole: Found::NONE }
    }

    /// The offset of the next data at or after `at`; `end` if there is no data before `end`.
    fn data(&mut self, at: u64, end: u64) -> Result<u64, Errno> {
        let found =
            self.data.next(at, || match rustix::fs::seek(self.file, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => Ok(u64::MAX),
                // A file system that does not report holes: everything counts as data.
                Err(Errno::INVAL) => Ok(at),
                found => found,
            })?;
        Ok(found.min(end))
    }

    /// The offset of the next hole after `at`, where data is; at most `end`.
    fn hole(&mut self, at: u64, end: u64) -> Result<u64, Errno> {
        let found =
            self.hole.next(at, || match rustix::fs::seek(self.file, SeekFrom::Hole(at)) {
                Err(Errno::NXIO | Errno::INVAL) => Ok(u64::MAX),
                found => found,
            })?;
        // What was data a moment ago is a hole now. It is read as data, so that each question brings the caller further.
        let found = if found > at { found } else { at.saturating_add(PAGE) };
        Ok(found.min(end))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_known_of_a_file_is_not_asked_again() {
        let (asked, mut found) = (Cell::new(0), Found::NONE);
        let mut next = |at: u64, answer: u64| {
            let ask = || {
                asked.set(asked.get() + 1);
                Ok(answer)
            };
            (found.next(at, ask).unwrap(), asked.get())
        };
        assert_eq!(next(0, 1 << 30), (1 << 30, 1));
        for at in (0..1 << 30).step_by(1 << 12) {
            assert_eq!(next(at, 0), (1 << 30, 1), "{at}");
        }
        assert_eq!(next(1 << 30, 1 << 31), (1 << 31, 2), "what was there may have gone");
        assert_eq!(next(5, 7), (7, 3), "what lies before was never known");
    }
}
