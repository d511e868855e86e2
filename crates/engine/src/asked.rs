//! What a caller asks of `kill` and `delete`, of either engine.

/// The processes that a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The init process.
    Init,
    /// All processes of the container.
    All,
}

/// The containers that `delete` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Those that have stopped, or were not started.
    OfStopped,
    /// Also those that run, whose processes are killed; and it is no error if there is no container.
    Forced,
}
