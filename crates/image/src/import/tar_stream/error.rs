//! Where a stream is no tar, and why.

use std::io;

/// A stream that is no tar, or only a part of a tar.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream ends early, or cannot be read or decompressed.
    #[error("at byte {at} of its tar")]
    Read {
        /// How many bytes of the tar could be read.
        at: u64,
        /// Why the next bytes could not.
        source: io::Error,
    },
    /// A header that cannot be understood.
    #[error("the tar header at byte {at}: {what}")]
    Header {
        /// Where the header begins, in bytes from the beginning of the tar.
        at: u64,
        /// What is wrong with the header.
        what: String,
    },
}
