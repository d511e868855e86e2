//! The call that waits for an answer, and the process that work is done on.

use crate::Id;

/// The call to which an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The number of the connection. No number is used twice.
    pub connection: u64,
    /// The stream of the call in the connection.
    pub stream: u32,
}

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The container.
    pub container: Id,
    /// The exec; `None` for the init process.
    pub exec: Option<Id>,
}

/// The processes that get a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only the process.
    Process,
    /// Every process of the container.
    Container,
}
