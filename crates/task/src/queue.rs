//! The order in which events are sent to containerd.

use std::collections::VecDeque;

use crate::messages::Timestamp;
use crate::{Event, Id};

/// How many events may wait for containerd. Beyond this number, all new events except the ends of processes are dropped. The
/// ends are kept: without containerd no process is added, so there are no more ends than processes.
pub const MAX_EVENTS: usize = 1 << 16;

/// How often an event that containerd refuses is sent again; the Go shim has the same number (`shim/publisher.go`).
pub const MAX_TRIES: u32 = 5;

/// The events of one containerd namespace. Only one event is sent at a time: containerd handles the calls of a connection in
/// parallel, so two events that are sent together may arrive in the wrong order.
#[derive(Debug)]
pub struct Queue {
    namespace: Id,
    waiting: VecDeque<(Event, Timestamp)>,
    sending: bool,
    tries: u32,
    dropped: u64,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(namespace: Id) -> Self {
        Self { namespace, waiting: VecDeque::new(), sending: false, tries: 0, dropped: 0 }
    }

    /// Adds an event that happened at the time `at`.
    pub fn push(&mut self, event: Event, at: Timestamp) {
        if self.waiting.len() >= MAX_EVENTS && !matches!(event, Event::Exit(_)) {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back((event, at));
    }

    /// The payload of the next `Forward`; `None` while an event waits for its answer.
    pub fn send(&mut self) -> Option<Vec<u8>> {
        if self.sending {
            return None;
        }
        let (event, at) = self.waiting.front()?;
        let payload = event.forward(&self.namespace, *at);
        self.sending = true;
        Some(payload)
    }

    /// containerd has accepted the event.
    pub fn accepted(&mut self) {
        if self.sending {
            self.next();
        }
    }

    /// containerd has refused the event. The event is sent again, at most [`MAX_TRIES`] times; then it is dropped and returned.
    pub fn refused(&mut self) -> Option<Event> {
        if !self.sending {
            return None;
        }
        self.sending = false;
        self.tries += 1;
        if self.tries <= MAX_TRIES {
            return None;
        }
        self.dropped += 1;
        self.next()
    }

    /// The connection ended before the answer came. The event is sent again, without a bound, because containerd may be away
    /// for long. So containerd can see an event twice.
    pub fn disconnected(&mut self) {
        self.sending = false;
    }

    /// Whether all events are sent and answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many events were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn next(&mut self) -> Option<Event> {
        self.sending = false;
        self.tries = 0;
        self.waiting.pop_front().map(|(event, _)| event)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::messages::event::*;

    fn exit(id: &str) -> Event {
        Event::Exit(TaskExit { container_id: id.to_owned(), ..TaskExit::default() })
    }

    fn oom(id: &str) -> Event {
        Event::Oom(TaskOOM { container_id: id.to_owned() })
    }

    fn queue(events: &[Event]) -> Queue {
        let mut queue = Queue::new("moby".parse().unwrap());
        events.iter().for_each(|event| queue.push(event.clone(), Timestamp::default()));
        queue
    }

    fn topic(payload: Option<Vec<u8>>) -> String {
        let request = ForwardRequest::decode(payload.unwrap().as_slice()).unwrap();
        request.envelope.unwrap().topic
    }

    #[test]
    fn one_event_is_under_way_at_a_time() {
        let mut queue = queue(&[oom("a"), exit("a")]);
        assert_eq!(topic(queue.send()), "/tasks/oom");
        assert_eq!(queue.send(), None);
        queue.accepted();
        assert_eq!(topic(queue.send()), "/tasks/exit");
        queue.accepted();
        // A surplus answer removes nothing.
        queue.push(oom("b"), Timestamp::default());
        queue.accepted();
        assert!(!queue.is_empty());
    }

    #[test]
    fn a_refused_event_is_sent_six_times_and_the_next_one_follows() {
        let mut queue = queue(&[oom("a"), exit("a")]);
        for _ in 0..MAX_TRIES {
            assert_eq!(topic(queue.send()), "/tasks/oom");
            assert_eq!(queue.refused(), None);
        }
        assert_eq!(topic(queue.send()), "/tasks/oom");
        assert_eq!(queue.refused(), Some(oom("a")));
        assert_eq!(topic(queue.send()), "/tasks/exit");
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn an_event_outlives_its_connections() {
        let mut queue = queue(&[exit("a")]);
        for _ in 0..100 {
            assert_eq!(topic(queue.send()), "/tasks/exit");
            queue.disconnected();
        }
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_full_queue_keeps_the_ends() {
        let mut queue = queue(&[]);
        for _ in 0..MAX_EVENTS {
            queue.push(oom("a"), Timestamp::default());
        }
        queue.push(oom("b"), Timestamp::default());
        assert_eq!(queue.dropped(), 1);
        queue.push(exit("a"), Timestamp::default());
        assert_eq!((queue.dropped(), queue.waiting.len()), (1, MAX_EVENTS + 1));
    }
}
