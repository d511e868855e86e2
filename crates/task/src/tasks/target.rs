//! Who is meant: the one who waits for an answer, and the process that something is done to.

use crate::Id;

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The connection, by a number that is never used again.
    pub connection: u64,
    /// The stream on it.
    pub stream: u32,
}

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The container.
    pub container: Id,
    /// The exec; none for the init process.
    pub exec: Option<Id>,
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The process.
    Process,
    /// Every process of the container.
    Container,
}
