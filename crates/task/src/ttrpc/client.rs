//! The side that calls, one call at a time. containerd serves the calls of one connection side by side, so events stay in their
//! order only if each waits for the answer to the last.

use prost::Message;

use super::frame::{Frame, Kind, TooLong};
use super::reader::{Reader, Received, give_back};
use crate::decode::decode;
use crate::messages::Status;
use crate::messages::envelope::{Request, Response};

/// A connection, seen by the caller.
#[derive(Debug, Default)]
pub struct Client {
    reader: Reader,
    /// The stream of the last call.
    last: u32,
    waiting: bool,
    out: Vec<u8>,
}

/// Why a call cannot go out. The connection is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The last call has no answer.
    #[error("the last call has no answer yet")]
    Waiting,
    /// There is no further stream: a connection has 2^31 of them.
    #[error("the connection has no stream left")]
    NoStream,
    /// The request is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// The server speaks something else. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A frame that is no response to the call under way.
    #[error(
        "the server sent a {kind:?} frame on stream {stream}, where the last call is on {last}"
    )]
    Unasked {
        /// What the frame is.
        kind: Kind,
        /// Its stream.
        stream: u32,
        /// The stream of the last call.
        last: u32,
    },
    /// A frame above the bound.
    #[error("the server sent a message of {0} bytes")]
    TooLong(u32),
    /// A response that cannot be read, or has more than [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    #[error("the server's response on stream {0} is malformed")]
    Malformed(u32),
}

impl Client {
    /// Calls.
    ///
    /// # Errors
    /// The call cannot go out.
    pub fn call(&mut self, request: &Request) -> Result<(), Busy> {
        if self.waiting {
            return Err(Busy::Waiting);
        }
        let stream = if self.last == 0 { Some(1) } else { self.last.checked_add(2) };
        let stream = stream.ok_or(Busy::NoStream)?;
        let payload = request.encode_to_vec();
        // No flags, as containerd's client marks a call that does not stream (ttrpc's client.go).
        Frame { stream, kind: Kind::Request, flags: 0, payload }.encode(&mut self.out)?;
        self.last = stream;
        self.waiting = true;
        Ok(())
    }

    /// Takes bytes of the server, and gives the answer if it is whole: the payload, or how the call failed.
    ///
    /// # Errors
    /// The bytes are no answer.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Result<Vec<u8>, Status>>, Lost> {
        self.reader.push(bytes);
        let mut answer = None;
        while let Some(received) = self.reader.take() {
            let Frame { stream, kind, payload, .. } = match received {
                Received::TooLong(header) => return Err(Lost::TooLong(header.length)),
                Received::Frame(frame) => frame,
            };
            match kind {
                Kind::Unknown(_) => continue,
                Kind::Response if self.waiting && stream == self.last => {}
                _ => return Err(Lost::Unasked { kind, stream, last: self.last }),
            }
            self.waiting = false;
            let response: Response =
                decode(&payload, Response::NESTED).map_err(|_| Lost::Malformed(stream))?;
            answer = Some(match response.status {
                Some(status) if status.code != 0 => Err(status),
                _ => Ok(response.payload),
            });
        }
        Ok(answer)
    }

    /// Whether a call waits for its answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The bytes that the server shall have.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// That the first bytes of the output are with the server.
    pub fn sent(&mut self, bytes: usize) {
        self.out.drain(..bytes.min(self.out.len()));
        give_back(&mut self.out);
    }
}
