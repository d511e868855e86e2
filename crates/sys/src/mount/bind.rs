//! A new mount of what is mounted already (open_tree(2)).

use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use super::{Detached, MountError};

/// What a bind of a volume does with the mounts below its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submounts {
    /// The bind has them, too (`rbind`).
    Included,
    /// The bind shows the directories below them (`bind`).
    LeftOut,
}

/// Binds the mount at `path`, which is no symbolic link, without the mounts below it.
///
/// # Errors
/// [`MountError::Open`].
pub fn bind(path: &Path) -> Result<Detached, MountError> {
    open_tree(path, OpenTreeFlags::AT_SYMLINK_NOFOLLOW)
}

/// Binds the directory or file at `path`; a symbolic link there is followed. The bind belongs to the peer group of the mount
/// that it is made from.
///
/// # Errors
/// [`MountError::Open`].
pub fn bind_volume(path: &Path, submounts: Submounts) -> Result<Detached, MountError> {
    let mut flags = OpenTreeFlags::empty();
    flags.set(OpenTreeFlags::AT_RECURSIVE, submounts == Submounts::Included);
    open_tree(path, flags)
}

fn open_tree(path: &Path, flags: OpenTreeFlags) -> Result<Detached, MountError> {
    let flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags)
        .map(Detached)
        .map_err(|source| MountError::Open { path: path.to_owned(), source })
}
