//! What peers make the machine keep: calls that wait for other work on their process, and the requests of execs. Each value
//! knows how many bytes it takes; `room` has the bounds.

use std::collections::VecDeque;

use prost::Message;

use super::target::Ticket;
use crate::Call;
use crate::messages::task::ExecProcessRequest;

/// The memory of an annotation besides its text: two strings, counted twice because a node of the map can be half empty, and
/// the allocator's overhead for two pieces.
const ANNOTATION: usize = 4 * size_of::<String>() + 2 * 16;

/// Calls that wait until no work is done on their process, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    calls: VecDeque<(Ticket, Call)>,
    pub bytes: usize,
}

impl Queue {
    /// The caller has checked that there is room for the bytes of the call.
    pub fn push(&mut self, ticket: Ticket, call: &Call) {
        self.bytes += bytes_of(call);
        // A clone has no unused capacity. prost keeps the capacity of a text when the field comes again with a shorter text.
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

/// The request of an exec, and how many bytes of the request are kept.
#[derive(Debug)]
pub(super) struct ExecRequest {
    /// The request; the start takes it.
    request: Option<Box<ExecProcessRequest>>,
    /// The bytes of the request, which the machine has, or the work that starts the exec.
    pub bytes: usize,
}

impl ExecRequest {
    pub fn new(request: &ExecProcessRequest) -> Self {
        // A clone, for the reason in `Queue::push`.
        Self { bytes: request.encoded_len(), request: Some(Box::new(request.clone())) }
    }

    /// Gives the request to the work that starts the exec.
    pub fn take(&mut self) -> Option<Box<ExecProcessRequest>> {
        self.request.take()
    }

    /// The work is done, and does not have the request any more.
    pub fn started(&mut self) {
        self.bytes = 0;
    }
}
