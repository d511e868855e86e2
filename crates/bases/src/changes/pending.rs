//! A stack of names that wait; the last name comes first. A container can make more names than memory has room for, so most
//! names are in a file when there are many.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Opens an unnamed file.
pub type Spill<'a> = &'a dyn Fn() -> Result<OwnedFd, Errno>;

/// How many bytes go to the file at once; at most twice as many are in memory.
const PIECE: usize = 4 << 20;

/// The size of the longest entry: a name, its length and a mark.
const LONGEST: usize = u16::MAX as usize + 3;

/// A stack of names, each with a mark.
pub(super) struct Pending<'a> {
    /// The upper end of the stack, in memory: name, mark, length of the name.
    near: Vec<u8>,
    /// The lower end of the stack, in pieces in a file.
    far: Option<OwnedFd>,
    pieces: u64,
    piece: usize,
    spill: Spill<'a>,
    /// The spill file failed: its disk is full or broken. This need not be the disk that the changes are written to.
    failed: bool,
}

/// The height of the stack at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Height(u64);

impl<'a> Pending<'a> {
    pub(super) fn new(spill: Spill<'a>) -> Self {
        Self::with_piece(spill, PIECE)
    }

    pub(super) fn with_piece(spill: Spill<'a>, piece: usize) -> Self {
        Self { near: Vec::new(), far: None, pieces: 0, piece, spill, failed: false }
    }

    #[cfg(test)]
    pub(super) fn in_pieces_of(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    pub(super) fn push(&mut self, name: &CStr, mark: u8) -> Result<(), Errno> {
        let name = name.to_bytes();
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.near.extend_from_slice(name);
        self.near.push(mark);
        self.near.extend_from_slice(&length.to_ne_bytes());
        while self.near.len() > 2 * self.piece {
            self.put_away().inspect_err(|_| self.failed = true)?;
        }
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Option<(CString, u8)>, Errno> {
        while self.near.len() < LONGEST && self.pieces > 0 {
            self.bring_back().inspect_err(|_| self.failed = true)?;
        }
        let Some((rest, length)) = self.near.split_last_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_ne_bytes(*length));
        let mark = rest.last().copied();
        let begin = rest.len().checked_sub(1 + length);
        let (Some(mark), Some(begin)) = (mark, begin) else { return Err(Errno::IO) };
        let name = CString::new(&rest[begin..begin + length]).map_err(|_| Errno::IO)?;
        self.near.truncate(begin);
        Ok(Some((name, mark)))
    }

    /// Whether names were lost because the spill file failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn height(&self) -> Height {
        Height(self.pieces * self.piece as u64 + self.near.len() as u64)
    }

    /// Drops the names that were pushed since the stack had this height.
    pub(super) fn lower(&mut self, to: Height) -> Result<(), Errno> {
        while self.height().0 > to.0 {
            self.pop()?;
        }
        Ok(())
    }

    fn put_away(&mut self) -> Result<(), Errno> {
        if self.far.is_none() {
            self.far = Some((self.spill)()?);
        }
        let Some(far) = &self.far else { return Err(Errno::IO) };
        let (mut at, mut rest) = (self.pieces * self.piece as u64, &self.near[..self.piece]);
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(far, rest, at))?;
            rest = rest.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
            at += written as u64;
        }
        self.near.drain(..self.piece);
        self.pieces += 1;
        Ok(())
    }

    fn bring_back(&mut self) -> Result<(), Errno> {
        let Some(far) = &self.far else { return Err(Errno::IO) };
        let (at, mut piece) = ((self.pieces - 1) * self.piece as u64, vec![0; self.piece]);
        let mut done = 0;
        while done < piece.len() {
            let (place, into) = (at + done as u64, &mut piece[done..]);
            match rustix::io::pread(far, into, place) {
                Ok(0) => return Err(Errno::IO),
                Ok(more) => done += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        piece.extend_from_slice(&self.near);
        self.near = piece;
        self.pieces -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spill() -> Result<OwnedFd, Errno> {
        Ok(tempfile::tempfile().unwrap().into())
    }

    #[test]
    fn the_last_name_comes_first_from_memory_and_from_the_file() {
        let mut pending = Pending::with_piece(&spill, 100);
        let name = |n: usize| CString::new(format!("{n}-{}", "x".repeat(n % 250))).unwrap();
        let push = |pending: &mut Pending<'_>, numbers: std::ops::Range<usize>| {
            numbers.for_each(|n| pending.push(&name(n), u8::try_from(n % 3).unwrap()).unwrap());
        };
        push(&mut pending, 0..3000);
        let height = pending.height();
        push(&mut pending, 3000..9000);
        assert!(pending.near.len() <= 200, "{}", pending.near.len());
        pending.lower(height).unwrap();
        assert_eq!(pending.height(), height);
        for n in (1000..3000).rev() {
            assert_eq!(pending.pop().unwrap(), Some((name(n), u8::try_from(n % 3).unwrap())));
        }
        push(&mut pending, 1000..2000);
        for n in (0..2000).rev() {
            assert_eq!(pending.pop().unwrap().unwrap().0, name(n));
        }
        assert_eq!(pending.pop().unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_an_error_and_a_short_stack_needs_no_file() {
        let none = || Err(Errno::NOSPC);
        let mut pending = Pending::with_piece(&none, 100);
        pending.push(c"name", 0).unwrap();
        assert_eq!(pending.pop().unwrap(), Some((c"name".to_owned(), 0)));
        let pushed = (0..100).try_for_each(|_| pending.push(c"name", 0));
        assert_eq!(pushed, Err(Errno::NOSPC));
    }
}
