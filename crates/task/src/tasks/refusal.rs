//! How a call fails.

use std::fmt;

use crate::messages::Status;
use crate::{Code, Id, NotAnId};

/// Why a call fails. The texts are the Go shim's, where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such container.
    NoContainer,
    /// No such exec in the container.
    NoExec(String),
    /// The same, told to `CloseIO`: the Go shim forgets to give this one a code.
    NoExecWithoutCode(String),
    /// There is such a container, or one is being made.
    ContainerExists(Id),
    /// There is such an exec.
    ExecExists(Id),
    /// Not in this state. The Go shim has no code for any of these.
    State(&'static str),
    /// The init process has ended, so no exec may start.
    InitEnded(Id),
    /// An exec without a process.
    NotStarted,
    /// The exec's start failed before.
    StartFailed(Id),
    /// The process has ended.
    Finished,
    /// An ID that containerd would not give.
    BadId(NotAnId),
    /// A number that no such thing has.
    BadNumber {
        /// Of what.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// The request lacks something.
    Missing(&'static str),
    /// Nothing here does that.
    Unsupported(&'static str),
    /// There is no room for what the request brings.
    NoRoom {
        /// What there would be too many of.
        what: &'static str,
        /// The most bytes of all of them.
        most: usize,
    },
    /// The work failed.
    Failed {
        /// What kind of failure.
        code: Code,
        /// What failed on what, and why.
        text: String,
    },
    /// The result belongs to other work: an error of the program.
    WrongResult,
}

impl Refusal {
    /// The code.
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
            Self::Failed { code, .. } => *code,
            Self::WrongResult => Code::Internal,
        }
    }

    /// What goes to the client.
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
