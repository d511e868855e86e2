//! The side that makes calls, one call at a time. containerd handles the calls of one connection in parallel. So events stay in
//! their order only if each event waits for the answer to the event before.

use prost::Message;

use super::frame::{Frame, Kind, TooLong};
use super::reader::{Reader, Received, give_back};
use crate::decode::decode;
use crate::messages::Status;
use crate::messages::envelope::{Request, Response};

/// A connection, as the caller sees it.
#[derive(Debug, Default)]
pub struct Client {
    reader: Reader,
    /// The stream of the last call.
    last: u32,
    waiting: bool,
    out: Vec<u8>,
}

/// Why a call cannot be sent. The connection is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The last call has no answer yet.
    #[error("the last call has no answer yet")]
    Waiting,
    /// No stream is left: a connection has 2^31 streams.
    #[error("the connection has no stream left")]
    NoStream,
    /// The request is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// The server does not follow the protocol. The connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The frame is not a response to the unfinished call.
    #[error(
        "the server sent a {kind:?} frame on stream {stream}, where the last call is on {last}"
    )]
    Unasked {
        /// The kind of the frame.
        kind: Kind,
        /// The stream of the frame.
        stream: u32,
        /// The stream of the last call.
        last: u32,
    },
    /// The frame is larger than the bound.
    #[error("the server sent a message of {0} bytes")]
    TooLong(u32),
    /// The response cannot be read, or has more than [`MAX_ENTRIES`](crate::MAX_ENTRIES) entries.
    #[error("the server's response on stream {0} is malformed")]
    Malformed(u32),
}

impl Client {
    /// Makes a call.
    ///
    /// # Errors
    /// The call cannot be sent.
    pub fn call(&mut self, request: &Request) -> Result<(), Busy> {
        if self.waiting {
            return Err(Busy::Waiting);
        }
        let stream = if self.last == 0 { Some(1) } else { self.last.checked_add(2) };
        let stream = stream.ok_or(Busy::NoStream)?;
        let payload = request.encode_to_vec();
        // The flags are 0: so containerd's client marks a call that does not stream (ttrpc's client.go).
        Frame { stream, kind: Kind::Request, flags: 0, payload }.encode(&mut self.out)?;
        self.last = stream;
        self.waiting = true;
        Ok(())
    }

    /// Takes bytes from the server. Returns the answer when it is complete: the payload, or why the call failed.
    ///
    /// # Errors
    /// The bytes are not an answer.
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

    /// The bytes that are to be sent to the server.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// Removes the first bytes of the output, which were sent to the server.
    pub fn sent(&mut self, bytes: usize) {
        self.out.drain(..bytes.min(self.out.len()));
        give_back(&mut self.out);
    }
}
