//! Takes frames from a growing buffer.

use super::frame::{Frame, HEADER, Header, MAX_PAYLOAD};

/// Received bytes that are not yet taken as frames: at most one frame of [`MAX_PAYLOAD`], and the bytes that came with its end.
/// The length in a header reserves no memory: memory grows only with the bytes that have come.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// How many of `bytes` are already taken.
    at: usize,
    /// How many bytes are still to come of a payload above the bound.
    skip: u64,
}

/// Frees the memory of a long message after the message was handled: there are as many connections as containers.
pub(super) fn give_back(buffer: &mut Vec<u8>) {
    const KEPT: usize = 16 << 10;
    if buffer.is_empty() && buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

/// What the reader has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame.
    Frame(Frame),
    /// The header of a frame above the bound. Its payload is dropped as it comes, as in containerd.
    TooLong(Header),
}

impl Reader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        give_back(&mut self.bytes);
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame, if the frame is complete.
    pub fn take(&mut self) -> Option<Received> {
        self.throw_away();
        let rest = &self.bytes[self.at..];
        let (head, payload) = rest.split_first_chunk::<HEADER>()?;
        let header = Header::decode(*head);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD {
            self.at += HEADER;
            self.skip = header.length.into();
            return Some(Received::TooLong(header));
        }
        let payload = payload.get(..length)?.to_vec();
        self.at += HEADER + length;
        let Header { stream, kind, flags, .. } = header;
        Some(Received::Frame(Frame { stream, kind, flags, payload }))
    }

    /// Whether the peer may end the connection here: no frame has begun.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.skip == 0 && self.held() == 0
    }

    /// How many bytes wait for the rest of their frame.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn throw_away(&mut self) {
        let there = u64::try_from(self.held()).unwrap_or(u64::MAX);
        let now = self.skip.min(there);
        self.skip -= now;
        self.at += usize::try_from(now).unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::Kind;
    use super::*;

    fn all(reader: &mut Reader) -> Vec<Received> {
        std::iter::from_fn(|| reader.take()).collect()
    }

    fn frame(stream: u32, payload: &[u8]) -> Frame {
        Frame { stream, kind: Kind::Request, flags: 0, payload: payload.to_vec() }
    }

    #[test]
    fn a_frame_above_the_bound_is_told_at_once_and_thrown_away() {
        let length = MAX_PAYLOAD as u32 + 3;
        let header = Header { length, stream: 5, kind: Kind::Request, flags: 0 };
        let mut reader = Reader::default();
        reader.push(&header.encode());
        assert_eq!(all(&mut reader), [Received::TooLong(header)]);
        assert!(!reader.is_between_frames());
        for _ in 0..2 {
            reader.push(&vec![7; 2 << 20]);
            assert_eq!(all(&mut reader), []);
            assert_eq!(reader.held(), 0);
        }
        let mut rest = vec![7; 3];
        frame(7, b"next").encode(&mut rest).unwrap();
        reader.push(&rest);
        assert_eq!(all(&mut reader), [Received::Frame(frame(7, b"next"))]);
        assert!(reader.is_between_frames());
    }

    #[test]
    fn the_longest_frame_is_a_frame_and_one_byte_more_is_not() {
        let mut bytes = Vec::new();
        let longest = frame(1, &vec![7; MAX_PAYLOAD]);
        longest.encode(&mut bytes).unwrap();
        let length = MAX_PAYLOAD as u32 + 1;
        let header = Header { length, stream: 3, kind: Kind::Request, flags: 0 };
        bytes.extend(header.encode());
        let mut reader = Reader::default();
        reader.push(&bytes);
        assert_eq!(all(&mut reader), [Received::Frame(longest), Received::TooLong(header)]);
    }

    #[test]
    fn half_a_header_is_no_frame_and_no_end() {
        let mut reader = Reader::default();
        assert!(reader.is_between_frames());
        reader.push(&[0; HEADER - 1]);
        assert_eq!(reader.take(), None);
        assert!(!reader.is_between_frames());
    }

    /// Stream, kind, flags and payload.
    type Parts = (u32, u8, u8, Vec<u8>);

    fn parts() -> impl Strategy<Value = Parts> {
        (any::<u32>(), any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..50))
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_the_bytes_come(
            frames in prop::collection::vec(parts(), 0..8),
            pieces in prop::collection::vec(1..40_usize, 1..30),
        ) {
            let frames: Vec<_> = frames
                .into_iter()
                .map(|(stream, kind, flags, payload)| {
                    let head = [0, 0, 0, 0, 0, 0, 0, 0, kind, 0];
                    Frame { stream, kind: Header::decode(head).kind, flags, payload }
                })
                .collect();
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
            let mut reader = Reader::default();
            let mut found = Vec::new();
            let mut rest = bytes.as_slice();
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*piece));
                reader.push(now);
                found.extend(all(&mut reader));
                rest = later;
            }
            prop_assert!(reader.is_between_frames());
            prop_assert_eq!(found, frames.into_iter().map(Received::Frame).collect::<Vec<_>>());
        }
    }
}
