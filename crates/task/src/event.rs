//! An event, before it has a time and a namespace.

use prost::Message;

use crate::messages::event::*;
use crate::messages::{Any, Timestamp};

/// The service that takes events at containerd's ttrpc address.
pub const EVENTS: &str = "containerd.services.events.ttrpc.v1.Events";

/// The method of [`EVENTS`] whose request is a [`ForwardRequest`].
pub const FORWARD: &str = "Forward";

/// Makes the events with their topics.
macro_rules! events {
    ($($name:ident: $message:ident, $topic:literal),+ $(,)?) => {
        /// What happened to a container or an exec.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the messages have the docs")]
        pub enum Event {
            $($name($message)),+
        }

        impl Event {
            /// The topic, by which clients filter.
            #[must_use]
            pub fn topic(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $topic),+
                }
            }

            /// The container.
            #[must_use]
            pub fn container(&self) -> &str {
                match self {
                    $(Self::$name(event) => &event.container_id),+
                }
            }

            fn any(&self) -> Any {
                match self {
                    $(Self::$name(event) => Any::of(event)),+
                }
            }
        }
    };
}

events! {
    Create: TaskCreate, "/tasks/create",
    Start: TaskStart, "/tasks/start",
    Exit: TaskExit, "/tasks/exit",
    Delete: TaskDelete, "/tasks/delete",
    ExecAdded: TaskExecAdded, "/tasks/exec-added",
    ExecStarted: TaskExecStarted, "/tasks/exec-started",
    Oom: TaskOOM, "/tasks/oom",
    Paused: TaskPaused, "/tasks/paused",
    Resumed: TaskResumed, "/tasks/resumed",
    Checkpointed: TaskCheckpointed, "/tasks/checkpointed",
}

impl Event {
    /// The payload of `Forward`, with the time at which the event happened. The namespace is the one of the containers: without
    /// a namespace containerd assumes "default", and the client that owns the containers never sees the event.
    #[must_use]
    pub fn forward(&self, namespace: &crate::Id, at: Timestamp) -> Vec<u8> {
        let envelope = Envelope {
            timestamp: Some(at),
            namespace: namespace.to_string(),
            topic: self.topic().to_owned(),
            event: Some(self.any()),
        };
        ForwardRequest { envelope: Some(envelope) }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_out_with_its_topic_and_full_name() {
        let event = Event::Oom(TaskOOM { container_id: "c1".to_owned() });
        let at = Timestamp { seconds: 7, nanos: 8 };
        let bytes = event.forward(&"moby".parse().unwrap(), at);
        let envelope = ForwardRequest::decode(bytes.as_slice()).unwrap().envelope.unwrap();
        assert_eq!(envelope.namespace, "moby");
        assert_eq!(envelope.topic, "/tasks/oom");
        assert_eq!(envelope.timestamp, Some(at));
        let any = envelope.event.unwrap();
        assert_eq!(any.type_url, "containerd.events.TaskOOM");
        assert_eq!(any.read::<TaskOOM>().unwrap().unwrap().container_id, "c1");
        assert_eq!(any.read::<TaskPaused>().unwrap(), None);
    }
}
