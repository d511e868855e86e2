//! What a root lacks: mount points, and the directory in which a process starts.

use std::path::PathBuf;

/// A path that a root lacks. No component is a link, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The absolute path in the container.
    pub path: PathBuf,
    /// The kind of file that must be at this path.
    pub kind: Kind,
}

/// The kind of a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory, for every mount except the bind of a file.
    Directory,
    /// An empty file, for a bind of anything that is no directory.
    File,
}
