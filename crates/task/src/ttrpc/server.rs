//! The side that gets calls: bytes in, requests out; answers in, bytes out. An error is answered as containerd's own server
//! does (ttrpc's server.go). That server goes on after every error except the end of the bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use super::frame::{Frame, Header, Kind, TooLong};
use super::reader::{Reader, Received, give_back};
use crate::Code;
use crate::decode::decode;
use crate::messages::Status;
use crate::messages::envelope::{self, KeyValue, Response};

/// The most unfinished calls of one connection: calls that wait for their answers, and calls whose stream was refused in the
/// meantime, because the work for such a call goes on. containerd has one connection for each container, and one open call for
/// each `Wait`.
pub const MAX_OPEN: usize = 4096;

/// The most bytes of answers that may wait for the peer. Beyond this bound the peer's next bytes are not read.
pub const MAX_WAITING: usize = 1 << 20;

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The stream of the call, for the answer.
    pub stream: u32,
    /// The service's full name.
    pub service: String,
    /// The method.
    pub method: String,
    /// The method's request.
    pub payload: Vec<u8>,
    /// How long the caller waits for the answer.
    pub timeout: Option<Duration>,
    /// The keys and values, in the order in which they came.
    pub metadata: Vec<(String, String)>,
}

/// What happens to the answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// The answer is sent.
    Open,
    /// The answer is dropped, because the stream was already refused.
    Refused,
}

/// A connection, as the server sees it.
#[derive(Debug, Default)]
pub struct Server {
    reader: Reader,
    /// The largest stream so far.
    last: u32,
    /// The streams with unfinished calls.
    open: BTreeMap<u32, Stream>,
    out: Vec<u8>,
}

impl Server {
    /// Takes bytes from the peer, and returns the complete requests. The answers to wrong requests are in the output.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Request> {
        self.reader.push(bytes);
        let mut requests = Vec::new();
        while let Some(received) = self.reader.take() {
            let taken = match received {
                Received::TooLong(header) => Err(self.too_long(header)),
                Received::Frame(frame) => self.take(frame),
            };
            match taken {
                Ok(request) => requests.extend(request),
                Err((stream, status)) => self.refuse(stream, status),
            }
        }
        requests
    }

    /// Answers a call. The answer is dropped if the stream already has an answer.
    pub fn answer(&mut self, stream: u32, answer: Result<Vec<u8>, Status>) {
        if self.open.remove(&stream) != Some(Stream::Open) {
            return;
        }
        let response = match answer {
            Ok(payload) => Response { status: None, payload },
            Err(status) => Response { status: Some(status), payload: Vec::new() },
        };
        self.send(stream, &response);
    }

    /// The bytes that are to be sent to the peer.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// Removes the first bytes of the output, which were sent to the peer.
    pub fn sent(&mut self, bytes: usize) {
        self.out.drain(..bytes.min(self.out.len()));
        give_back(&mut self.out);
    }

    /// Whether more bytes should be read: no while the peer leaves too many answers unread.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.out.len() < MAX_WAITING
    }

    /// Whether the peer may end the connection here: its last frame is complete.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.reader.is_between_frames()
    }

    /// The number of unfinished calls: [`Server::answer`] was not called for them yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    fn too_long(&mut self, header: Header) -> (u32, Status) {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        (header.stream, Code::ResourceExhausted.status(TooLong { length }))
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Request>, (u32, Status)> {
        let stream = frame.stream;
        let bad = |text: &str| Err((stream, Code::InvalidArgument.status(text)));
        if stream.is_multiple_of(2) {
            return bad("StreamID must be odd for client initiated streams");
        }
        match frame.kind {
            Kind::Request => {}
            Kind::Data if self.open.get(&stream) == Some(&Stream::Open) => {
                return bad("the call takes one message");
            }
            Kind::Data => return bad("StreamID is no longer active"),
            Kind::Response | Kind::Unknown(_) => return Ok(None),
        }
        if stream <= self.last {
            return bad("StreamID cannot be re-used and must increment");
        }
        self.last = stream;
        let request: envelope::Request = decode(&frame.payload, &[]).map_err(|e| {
            let text = format!("unmarshal request error: {e}");
            (stream, e.code(Code::InvalidArgument).status(text))
        })?;
        if self.open.len() >= MAX_OPEN {
            let text = format!("{MAX_OPEN} calls of this connection go on");
            return Err((stream, Code::ResourceExhausted.status(text)));
        }
        self.open.insert(stream, Stream::Open);
        Ok(Some(Request::of(stream, request)))
    }

    /// Ends a stream, also if its call is unfinished. The call's answer is then dropped, so that no call has two answers. The
    /// call is counted until its answer comes, because the machine behind this server keeps the call until then.
    fn refuse(&mut self, stream: u32, status: Status) {
        if let Some(of) = self.open.get_mut(&stream) {
            *of = Stream::Refused;
        }
        self.send(stream, &Response { status: Some(status), payload: Vec::new() });
    }

    fn send(&mut self, stream: u32, response: &Response) {
        let frame = |response: &Response| Frame {
            stream,
            kind: Kind::Response,
            flags: 0,
            payload: response.encode_to_vec(),
        };
        if let Err(error) = frame(response).encode(&mut self.out) {
            let status = Some(Code::ResourceExhausted.status(error));
            let short = frame(&Response { status, payload: Vec::new() });
            short.encode(&mut self.out).expect("a status of one line is below the bound");
        }
    }
}

impl Request {
    fn of(stream: u32, request: envelope::Request) -> Self {
        let envelope::Request { service, method, payload, timeout_nano, metadata } = request;
        let timeout = (timeout_nano != 0)
            .then(|| Duration::from_nanos(u64::try_from(timeout_nano).unwrap_or_default()));
        let metadata = metadata.into_iter().map(|KeyValue { key, value }| (key, value)).collect();
        Self { stream, service, method, payload, timeout, metadata }
    }
}
