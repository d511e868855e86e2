//! The messages of Google's that containerd's messages use.

use prost::{Message, Name};

use crate::decode::{Unreadable, decode};

/// A message of any type, with the type's name (`google.protobuf.Any`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// The type's full name. containerd's typeurl writes only the name; other programs write a prefix that ends with `/`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// Packs a message with its name, as containerd's typeurl does.
    #[must_use]
    pub fn of<M: Message + Name>(message: &M) -> Self {
        Self { type_url: M::full_name(), value: message.encode_to_vec() }
    }

    /// The full name of the message's type.
    #[must_use]
    pub fn name(&self) -> &str {
        self.type_url.rsplit('/').next().unwrap_or_default()
    }

    /// The message; `None` if it has another type.
    ///
    /// # Errors
    /// The message is malformed, or has too many entries.
    pub fn read<M: Message + Name + Default>(&self) -> Result<Option<M>, Unreadable> {
        if self.name() != M::full_name() {
            return Ok(None);
        }
        decode(&self.value, &[]).map(Some)
    }
}

/// The fields of a message that an update changes (`google.protobuf.FieldMask`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FieldMask {
    /// A field, or a field and one key of its map, such as `labels.KEY`.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

/// Seconds and nanoseconds since 1970, in UTC (`google.protobuf.Timestamp`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Message)]
pub struct Timestamp {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The nanoseconds after the whole seconds, never negative.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Go's zero time, the year 1. containerd's shim sends this time as the end of a process that has not ended. For containerd
    /// a missing timestamp would be 1970, which is an ordinary time (protobuf/timestamp.go).
    pub const NEVER: Self = Self { seconds: -62_135_596_800, nanos: 0 };
}

/// How a call failed (`google.rpc.Status`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Status {
    /// A [`Code`](crate::Code).
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people, and for clients that compare texts.
    #[prost(string, tag = "2")]
    pub message: String,
    /// More, which containerd does not use with shims.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// Nothing (`google.protobuf.Empty`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}
