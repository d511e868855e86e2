//! What a root lacks: mount points, and the directory that a process starts in.

use std::path::PathBuf;

/// A path that a root lacks. No component of it is a link, a dot or two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// What is to be there.
    pub kind: Kind,
}

/// What a mount point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// For everything but a file.
    Directory,
    /// An empty file, for a bind of whatever is no directory.
    File,
}
