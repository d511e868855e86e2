//! One frame.

/// The bytes of a header.
pub const HEADER: usize = 10;

/// The most bytes after a header; the protocol sets this bound.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Request,
    /// The response to a call.
    Response,
    /// More data of a call that streams. No method of a task streams.
    Data,
    /// A kind of a later version; such a frame is ignored.
    Unknown(u8),
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Data => 3,
            Self::Unknown(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Data,
            number => Self::Unknown(number),
        }
    }
}

/// The bits of a header's flags.
pub mod flag {
    /// The sender sends nothing more on this stream.
    pub const REMOTE_CLOSED: u8 = 1;
    /// The sender will send more on this stream.
    pub const REMOTE_OPEN: u8 = 2;
    /// The frame has no message, not even an empty message.
    pub const NO_DATA: u8 = 4;
}

/// The header before a payload: 10 bytes. Numbers have their most significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The bytes of the payload.
    pub length: u32,
    /// The stream. The caller's streams are odd, and each new stream is larger than all earlier streams.
    pub stream: u32,
    /// The kind of the frame.
    pub kind: Kind,
    /// Bits of [`flag`].
    pub flags: u8,
}

impl Header {
    /// Reads a header. Any 10 bytes are a header.
    #[must_use]
    pub fn decode(bytes: [u8; HEADER]) -> Self {
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, flags] = bytes;
        Self {
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            kind: Kind::of(kind),
            flags,
        }
    }

    /// Writes a header.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, l3, s0, s1, s2, s3, self.kind.number(), self.flags]
    }
}

/// A frame: a header and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The stream.
    pub stream: u32,
    /// The kind of the frame.
    pub kind: Kind,
    /// Bits of [`flag`].
    pub flags: u8,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// The payload is larger than the protocol's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message length {length} exceed maximum message size of {MAX_PAYLOAD}")]
pub struct TooLong {
    /// The bytes of the payload.
    pub length: usize,
}

impl Frame {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// The payload is too long; nothing is written.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let too_long = TooLong { length: self.payload.len() };
        if self.payload.len() > MAX_PAYLOAD {
            return Err(too_long);
        }
        let length = u32::try_from(self.payload.len()).map_err(|_| too_long)?;
        let header = Header { length, stream: self.stream, kind: self.kind, flags: self.flags };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_ten_bytes_are_a_header_and_read_back(bytes: [u8; HEADER]) {
            prop_assert_eq!(Header::decode(bytes).encode(), bytes);
        }
    }

    #[test]
    fn the_bytes_are_gos() {
        // The bytes that ttrpc's Go client writes for an empty request on its first stream (channel.go writeMessageHeader).
        let header = Header { length: 0x0102_0304, stream: 1, kind: Kind::Request, flags: 0 };
        assert_eq!(header.encode(), [1, 2, 3, 4, 0, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn the_bound_is_a_bound() {
        let frame =
            |length| Frame { stream: 1, kind: Kind::Response, flags: 0, payload: vec![0; length] };
        let mut out = Vec::new();
        assert_eq!(frame(MAX_PAYLOAD).encode(&mut out), Ok(()));
        assert_eq!(out.len(), HEADER + MAX_PAYLOAD);
        let length = MAX_PAYLOAD + 1;
        assert_eq!(frame(length).encode(&mut out), Err(TooLong { length }));
        assert_eq!(out.len(), HEADER + MAX_PAYLOAD);
    }
}
