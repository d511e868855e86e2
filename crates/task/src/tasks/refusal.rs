//! Why a call fails.

use std::fmt;

use crate::messages::Status;
use crate::{Code, Id, NotAnId};

/// Why a call fails. Where the Go shim has a text for the case, the text here is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such container.
    NoContainer,
    /// The container has no such exec.
    NoExec(String),
    /// The container has no such exec, and the call is `CloseIO`: there the Go shim forgets the code.
    NoExecWithoutCode(String),
    /// The container exists, or is being made.
    ContainerExists(Id),
    /// The exec exists.
    ExecExists(Id),
    /// The state does not allow the call. The Go shim has no code for these errors.
    State(&'static str),
    /// The init process has ended, so no exec may start.
    InitEnded(Id),
    /// The exec has no process yet.
    NotStarted,
    /// An earlier start of the exec failed.
    StartFailed(Id),
    /// The process has ended.
    Finished,
    /// The ID is not one that containerd would give.
    BadId(NotAnId),
    /// The shim ends.
    Ending,
    /// The number is not valid.
    BadNumber {
        /// The kind of the number.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// The request lacks a part.
    Missing(&'static str),
    /// The machine does not support the request.
    Unsupported(&'static str),
    /// There is no room for the request.
    NoRoom {
        /// What there would be too much of.
        what: &'static str,
        /// The most bytes that all of it may take.
        most: usize,
    },
    /// The work failed.
    Failed {
        /// The code of the failure.
        code: Code,
        /// What failed on what, and why.
        text: String,
    },
    /// The result belongs to other work: an error of the program.
    WrongResult,
}

impl Refusal {
    /// The code of the refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoContainer | Self::NoExec(_) | Self::Finished => Code::NotFound,
            Self::NoExecWithoutCode(_) | Self::State(_) => Code::Unknown,
            Self::ContainerExists(_) | Self::ExecExists(_) => Code::AlreadyExists,
            Self::InitEnded(_) | Self::NotStarted | Self::StartFailed(_) => {
                Code::FailedPrecondition
            }
            Self::BadId(_) | Self::BadNumber { .. } | Self::Missing(_) => Code::InvalidArgument,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::NoRoom { .. } => Code::ResourceExhausted,
            Self::Ending => Code::Unavailable,
            Self::Failed { code, .. } => *code,
            Self::WrongResult => Code::Internal,
        }
    }

    /// The status for the client.
    #[must_use]
    pub fn status(&self) -> Status {
        self.code().status(self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContainer => f.write_str("container not created")?,
            Self::NoExec(id) => write!(f, "process does not exist {id}")?,
            Self::NoExecWithoutCode(id) => {
                return write!(f, "process does not exist {id}: not found");
            }
            Self::ContainerExists(id) => write!(f, "container {id}")?,
            Self::ExecExists(id) => write!(f, "id {id}")?,
            Self::State(text) => f.write_str(text)?,
            Self::InitEnded(id) => write!(f, "container {id} init process is not running")?,
            Self::NotStarted => f.write_str("process not created")?,
            Self::StartFailed(id) => write!(f, "the start of {id} failed before")?,
            Self::Finished => f.write_str("process already finished")?,
            Self::BadId(error) => error.fmt(f)?,
            Self::Ending => f.write_str("the shim ends")?,
            Self::BadNumber { what, number } => write!(f, "{number} is no {what}")?,
            Self::Missing(what) => write!(f, "the request has no {what}")?,
            Self::Unsupported(what) => f.write_str(what)?,
            Self::NoRoom { what, most } => {
                write!(f, "the {what} would take more than {most} bytes")?;
            }
            Self::Failed { text, .. } => return f.write_str(text),
            Self::WrongResult => f.write_str("the result belongs to other work")?,
        }
        match self.code().class() {
            Some(class) => write!(f, ": {class}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<NotAnId> for Refusal {
    fn from(error: NotAnId) -> Self {
        Self::BadId(error)
    }
}
