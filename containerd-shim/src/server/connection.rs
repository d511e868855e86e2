//! A client's connection: bytes in, calls out; answers in, bytes out. Nothing here waits.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use sharedroot_task::messages::Status;
use sharedroot_task::ttrpc::{Request, Server};

use super::poll::{Interest, Poll, Token};

/// How much is read at once.
const AT_ONCE: usize = 16 << 10;

/// A client.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    server: Server,
    token: Token,
    interest: Interest,
}

impl Connection {
    /// Takes over a connection, and waits for its bytes.
    ///
    /// # Errors
    /// The connection cannot be waited for.
    pub fn new(stream: UnixStream, token: Token, poll: &Poll) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        poll.add(&stream, token, Interest::READ)?;
        Ok(Self { stream, server: Server::default(), token, interest: Interest::READ })
    }

    /// Reads what has come, once. None if the client has gone.
    pub fn receive(&mut self) -> Option<Vec<Request>> {
        if !self.server.wants_input() {
            return Some(Vec::new());
        }
        let mut buffer = [0; AT_ONCE];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => Some(self.server.receive(&buffer[..read])),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Some(Vec::new())
            }
            Err(_) => None,
        }
    }

    /// Answers a call.
    pub fn answer(&mut self, stream: u32, answer: Result<Vec<u8>, Status>) {
        self.server.answer(stream, answer);
    }

    /// Writes what the client takes now, and waits for what it takes later.
    ///
    /// # Errors
    /// The client has gone.
    pub fn flush(&mut self, poll: &Poll) -> io::Result<()> {
        while !self.server.output().is_empty() {
            match self.stream.write(self.server.output()) {
                Ok(written) => self.server.sent(written),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let interest =
            Interest { read: self.server.wants_input(), write: !self.server.output().is_empty() };
        if interest != self.interest {
            poll.change(&self.stream, self.token, interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// Whether the client has all its answers.
    pub fn is_flushed(&self) -> bool {
        self.server.output().is_empty()
    }
}
