//! Whether what is left over is only told.

/// What becomes of what is left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// It is told, and stays.
    DryRun,
    /// It is told, and goes.
    Act,
}
