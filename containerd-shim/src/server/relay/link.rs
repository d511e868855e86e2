//! Bytes from one descriptor to another, through one buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::server::poll::{Interest, Poll, Token};

/// How much is relayed at once.
const AT_ONCE: usize = 4096;

/// How often that is done before others have their turn.
const ROUNDS: usize = 16;

/// A descriptor, and what is waited for of it.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    token: Token,
    /// None if it is not waited for at all: epoll(7) tells the end of a file also to those who ask for nothing.
    interest: Option<Interest>,
}

impl Watched {
    /// A descriptor that never waits.
    ///
    /// # Errors
    /// ioctl(2)'s.
    pub fn new(fd: OwnedFd, token: Token) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, token, interest: None })
    }

    fn watch(&mut self, interest: Interest, poll: &Poll) -> io::Result<()> {
        let wanted = (interest != Interest::default()).then_some(interest);
        if wanted == self.interest {
            return Ok(());
        }
        match (self.interest, wanted) {
            (None, Some(interest)) => poll.add(&self.fd, self.token, interest)?,
            (Some(_), Some(interest)) => poll.change(&self.fd, self.token, interest)?,
            (_, None) => poll.forget(&self.fd),
        }
        self.interest = wanted;
        Ok(())
    }

    fn end(self, poll: &Poll) {
        if self.interest.is_some() {
            poll.forget(&self.fd);
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A link. Each end is there until it has ended.
#[derive(Debug)]
pub struct Link {
    from: Option<Watched>,
    buffer: Vec<u8>,
    to: Option<Watched>,
    /// A reading end of the FIFO that is written: a client that has gone may come again.
    _reader: Option<OwnedFd>,
}

impl Link {
    /// A link with nothing on its way. Without `to`, the bytes are lost.
    pub fn new(from: Watched, to: Option<Watched>, reader: Option<OwnedFd>) -> Self {
        Self { from: Some(from), buffer: Vec::new(), to, _reader: reader }
    }

    /// Waits for what each end can do next. While the buffer has bytes, nothing is read.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn watch(&mut self, poll: &Poll) -> io::Result<()> {
        let full = !self.buffer.is_empty();
        if let Some(from) = &mut self.from {
            from.watch(Interest { read: !full, write: false }, poll)?;
        }
        if let Some(to) = &mut self.to {
            to.watch(Interest { read: false, write: full }, poll)?;
        }
        Ok(())
    }

    /// Relays until one of the ends would wait, or until others have their turn.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn relay(&mut self, poll: &Poll) -> io::Result<()> {
        for _ in 0..ROUNDS {
            if !self.flush(poll) || !self.fill(poll) {
                break;
            }
        }
        self.watch(poll)
    }

    /// Whether all bytes that came are where they belong, and no more can come.
    pub fn is_over(&self) -> bool {
        self.from.is_none() && self.buffer.is_empty()
    }

    /// Closes both ends: without a writer, the reader reads the end of the file.
    pub fn end(self, poll: &Poll) {
        for end in [self.from, self.to].into_iter().flatten() {
            end.end(poll);
        }
    }

    /// Reads once into the empty buffer. Returns whether bytes came.
    fn fill(&mut self, poll: &Poll) -> bool {
        let Some(from) = &self.from else { return false };
        let mut read = [0; AT_ONCE];
        match rustix::io::read(from, &mut read) {
            Ok(count @ 1..) => {
                self.buffer.extend_from_slice(&read[..count]);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO of a master: no process has the terminal open.
            Ok(_) | Err(_) => drop_end(&mut self.from, poll),
        }
        false
    }

    /// Writes the buffer. Returns whether it is empty. Bytes for an end that is not there are lost.
    fn flush(&mut self, poll: &Poll) -> bool {
        while !self.buffer.is_empty() {
            let Some(to) = &self.to else {
                self.buffer.clear();
                return true;
            };
            match rustix::io::write(to, &self.buffer) {
                Ok(count) => drop(self.buffer.drain(..count)),
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR) => {}
                Err(_) => drop_end(&mut self.to, poll),
            }
        }
        true
    }
}

fn drop_end(end: &mut Option<Watched>, poll: &Poll) {
    if let Some(end) = end.take() {
        end.end(poll);
    }
}
