//! What peers make the machine keep: calls that wait for what is done to their process, and the requests of execs. Each knows
//! how many bytes it takes; `room` has the bounds.

use std::collections::VecDeque;

use prost::Message;

use super::target::Ticket;
use crate::Call;
use crate::messages::task::ExecProcessRequest;

/// The memory of an annotation besides its text: two strings, twice, because a node of the map can be half empty, and what the
/// allocator needs for two pieces.
const ANNOTATION: usize = 4 * size_of::<String>() + 2 * 16;

/// Calls that wait until nothing is done to their process, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    calls: VecDeque<(Ticket, Call)>,
    pub bytes: usize,
}

impl Queue {
    /// Only for a call whose bytes the machine has room for.
    pub fn push(&mut self, ticket: Ticket, call: &Call) {
        self.bytes += bytes_of(call);
        // The clone has no room that is not used: prost keeps the room of a text that comes again and is shorter.
        self.calls.push_back((ticket, call.clone()));
    }

    pub fn pop(&mut self) -> Option<(Ticket, Call)> {
        let (ticket, call) = self.calls.pop_front()?;
        self.bytes -= bytes_of(&call);
        Some((ticket, call))
    }

    /// Forgets the calls of a connection.
    pub fn forget(&mut self, connection: u64) {
        self.calls.retain(|(ticket, _)| ticket.connection != connection);
        self.bytes = self.calls.iter().map(|(_, call)| bytes_of(call)).sum();
    }

    pub fn into_calls(self) -> impl Iterator<Item = (Ticket, Call)> {
        self.calls.into_iter()
    }
}

pub(super) fn bytes_of(call: &Call) -> usize {
    let annotations = match call {
        Call::Update(request) => request.annotations.len(),
        _ => 0,
    };
    size_of::<(Ticket, Call)>() + call.encoded_len() + annotations * ANNOTATION
}

/// An exec's request, and how much of it is kept.
#[derive(Debug)]
pub(super) struct ExecRequest {
    /// What to start; taken by the start.
    request: Option<Box<ExecProcessRequest>>,
    /// The bytes of the request, with the machine or with the work that starts the exec.
    pub bytes: usize,
}

impl ExecRequest {
    pub fn new(request: &ExecProcessRequest) -> Self {
        // A clone, as in `Queue::push`.
        Self { bytes: request.encoded_len(), request: Some(Box::new(request.clone())) }
    }

    /// Gives the request to the work that starts the exec.
    pub fn take(&mut self) -> Option<Box<ExecProcessRequest>> {
        self.request.take()
    }

    /// The work is done, and no longer has the request.
    pub fn started(&mut self) {
        self.bytes = 0;
    }
}
