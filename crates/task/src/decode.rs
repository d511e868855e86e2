//! Reads a message whose number of entries has a bound. An empty entry of a repeated field takes two bytes in the message and
//! up to a hundred bytes in memory. So a bound for the bytes of a message does not bound the memory.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::Code;

/// The most entries of a message: its fields of text, bytes and messages, including the fields in the mounts of a `Create` and
/// in the status of a response. A request of containerd has a few tens of entries.
pub const MAX_ENTRIES: usize = 4096;

/// A message with more than [`MAX_ENTRIES`] entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has more than {MAX_ENTRIES} entries")]
pub struct TooManyEntries;

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are not a message of this type.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
    /// The message has too many entries.
    #[error(transparent)]
    TooMany(#[from] TooManyEntries),
}

impl Unreadable {
    /// The code for the peer; `malformed` is the code for bytes that are not a message.
    pub(crate) fn code(&self, malformed: Code) -> Code {
        match self {
            Self::Malformed(_) => malformed,
            Self::TooMany(_) => Code::ResourceExhausted,
        }
    }
}

/// Reads a message. `nested` has the fields whose messages have repeated fields of their own.
///
/// # Errors
/// The bytes are not a message of this type, or the message has too many entries.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8], nested: &[u32]) -> Result<M, Unreadable> {
    count(bytes, nested, &mut 0)?;
    Ok(M::decode(bytes)?)
}

/// Counts the entries with prost's own functions, so that prost and this function see the same fields. Bytes after an error are
/// not counted, because prost does not read them either. Fields in a group are counted as if there were no group. This count is
/// higher than what prost keeps, because prost skips groups.
fn count(mut bytes: &[u8], nested: &[u32], found: &mut usize) -> Result<(), TooManyEntries> {
    while let Ok((tag, wire_type)) = decode_key(&mut bytes) {
        let length = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).map(|_| 0),
            WireType::SixtyFourBit => Ok(8),
            WireType::ThirtyTwoBit => Ok(4),
            WireType::LengthDelimited => decode_varint(&mut bytes),
            WireType::StartGroup | WireType::EndGroup => Ok(0),
        };
        let length = length.ok().and_then(|length| usize::try_from(length).ok());
        let is_entry = wire_type == WireType::LengthDelimited;
        if is_entry {
            *found += 1;
        }
        if *found > MAX_ENTRIES {
            return Err(TooManyEntries);
        }
        let Some((field, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
            return Ok(());
        };
        if is_entry && nested.contains(&tag) {
            count(field, &[], found)?;
        }
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::messages::envelope::{KeyValue, Request, Response};
    use crate::messages::task::{CreateTaskRequest, UpdateTaskRequest};
    use crate::messages::{Any, Status};

    fn counted(bytes: &[u8], nested: &[u32]) -> usize {
        let mut found = 0;
        count(bytes, nested, &mut found).unwrap();
        found
    }

    #[test]
    fn a_message_below_a_field_that_is_named_is_counted() {
        let status =
            |details| Status { details: vec![Any::default(); details], ..Status::default() };
        let response = |details| Response { status: Some(status(details)), payload: Vec::new() };
        let read = |details| decode(&response(details).encode_to_vec(), Response::NESTED);
        assert_eq!(read(MAX_ENTRIES - 1), Ok(response(MAX_ENTRIES - 1)));
        assert_eq!(read(MAX_ENTRIES), Err(Unreadable::TooMany(TooManyEntries)));
    }

    /// The entries that prost keeps of the bytes, also if the bytes end in the middle of a message.
    fn kept(bytes: &[u8]) -> [usize; 3] {
        let (mut create, mut update, mut envelope) =
            (CreateTaskRequest::default(), UpdateTaskRequest::default(), Request::default());
        let _ = (create.merge(bytes), update.merge(bytes), envelope.merge(bytes));
        let options: usize = create.rootfs.iter().map(|mount| mount.options.len()).sum();
        [create.rootfs.len() + options, update.annotations.len(), envelope.metadata.len()]
    }

    proptest! {
        /// prost keeps no more entries than were counted, also of bytes that are not a message.
        #[test]
        fn no_entry_is_kept_that_was_not_counted(
            fields in prop::collection::vec((0..40_u8, prop::collection::vec(0..40_u8, 0..12)), 0..40),
            noise in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut bytes = Vec::new();
            for (key, field) in fields {
                bytes.extend([key, u8::try_from(field.len()).unwrap()]);
                bytes.extend(field);
            }
            bytes.extend(noise);
            let most = counted(&bytes, CreateTaskRequest::NESTED);
            for kept in kept(&bytes) {
                prop_assert!(kept <= most);
            }
        }
    }

    #[test]
    fn the_metadata_of_a_request_are_entries() {
        let metadata = vec![KeyValue::default(); 9];
        let request = Request { metadata, service: "s".to_owned(), ..Request::default() };
        assert_eq!(counted(&request.encode_to_vec(), &[]), 10);
    }
}
