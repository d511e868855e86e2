//! The numbers that tell why a call failed.

use std::fmt;

use crate::messages::Status;

/// gRPC's status codes, which ttrpc uses, too, without 0 (no failure). containerd turns some of them into its own errors
/// (`errdefs.FromGRPC`), and all others into "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names and numbers are gRPC's")]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a number that is not 0. As gRPC demands, a number that gRPC does not define is `Unknown`.
    #[must_use]
    pub fn of(number: i32) -> Self {
        Self::ALL.into_iter().find(|code| *code as i32 == number).unwrap_or(Self::Unknown)
    }

    /// The end of the text of containerd's errdefs error of this class. A client of containerd removes this end.
    #[must_use]
    pub fn class(self) -> Option<&'static str> {
        Some(match self {
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::FailedPrecondition => "failed precondition",
            Self::Unimplemented => "not implemented",
            Self::Unavailable => "unavailable",
            _ => return None,
        })
    }

    /// The code and a text as a status message.
    #[must_use]
    pub fn status(self, message: impl fmt::Display) -> Status {
        Status { code: self as i32, message: message.to_string(), details: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_code_and_an_unknown_one_is_unknown() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at + 1);
            assert_eq!(Code::of(code as i32), code);
        }
        for number in [-1, 0, 17, i32::MAX] {
            assert_eq!(Code::of(number), Code::Unknown);
        }
    }
}
