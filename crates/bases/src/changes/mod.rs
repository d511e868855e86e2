//! A container's changes: from its snapshot to the engine's own root, and back.
//!
//! Both directions are one walk over two trees, which makes the second tree like the first. The engine's root is its overlay as
//! it is mounted. So the overlay itself makes the whiteouts, opaque directories and attributes of its format, and nothing is
//! written directly into an upper directory.
//!
//! | direction | from | to | what is looked at |
//! |---|---|---|---|
//! | [`write_back`] | the snapshot | the overlay | every inode whose change time is not a base's |
//! | [`bring_in`] | the overlay | the snapshot | every path that the upper directory names |
//! | [`bring_newer`] | the overlay | a kept snapshot | the same, if it changed after the write-back |
//!
//! Each inode of a base has one fixed change time. A snapshot inherits this time. Each change of an inode sets its change time
//! to the clock, and nothing in a container can set the change time to another value. So one walk finds all changes, and where
//! nothing changed the walk does not read the overlay. A new name and a removed name change the directory that holds them.
//! After a power cut one kind of change has no new time: overwritten bytes of a regular file (`written.rs`). Then the walk also
//! looks at each regular file that has blocks of the snapshot's own.
//!
//! The trees are hostile. Each step opens one name in an open directory, follows no link and crosses no mount. The walk opens
//! nothing but directories and regular files, except by `O_PATH`. Depth takes heap and no stack. Each step can be repeated, so
//! a walk that was interrupted starts again from the beginning.

mod allowance;
mod attributes;
mod content;
mod cursor;
mod entry;
mod error;
mod frame;
mod give;
mod links;
mod node;
mod part;
mod pending;
mod remove;
mod rights;
mod times;
mod walk;
mod written;

#[cfg(test)]
mod interrupted_tests;
#[cfg(test)]
mod moved_tests;
#[cfg(test)]
mod tests;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use allowance::Allowance;
pub use error::{ChangeError, LeftOut};
use frame::Find;
pub use frame::Since;
pub use pending::Spill;
pub use times::Times;
use walk::Walk;
pub use written::Written;

/// What a walk did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Inodes of the first tree that the walk looked at.
    pub seen: u64,
    /// Changes made in the second tree.
    pub changes: u64,
    /// What the engine's root cannot hold. Only [`write_back`] leaves something out.
    pub left_out: LeftOut,
    /// The first file of which [`bring_newer`] cannot tell whether it is newer. This file was not brought.
    pub unclear: Option<PathBuf>,
    /// The walk made a link after another name of the file was found to be a link already. For a link, an overlay copies an
    /// image's file up, and the other names of the file are then no longer links to it.
    again: bool,
}

/// What looks changed in a snapshot and is as in the base.
#[derive(Clone, Copy)]
pub struct Unchanged<'a> {
    /// Opens the top of the base when it is needed, which is rare. The base tells a directory that stayed at its place from a
    /// directory that was moved there. Without the base such directories are compared file by file.
    pub base: &'a dyn Fn() -> Option<OwnedFd>,
    /// What changed when the snapshot was new, before the container began.
    pub moved: &'a Times,
    /// What the container may have overwritten without a new time, if its host ended under it.
    pub written: Option<&'a Written>,
}

/// The root of a container as its engine mounts it.
#[derive(Debug, Clone, Copy)]
pub struct EnginesRoot<'a> {
    /// The overlay as it is mounted.
    pub merged: BorrowedFd<'a>,
    /// An open directory of the file system that holds the overlay, above the directories for which the engine sets a quota of one
    /// container.
    pub store: BorrowedFd<'a>,
}

/// A container's snapshot, which gets files.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The container's root: the snapshot's own tree, or an overlay of it.
    pub tree: BorrowedFd<'a>,
    /// An open directory of the snapshot's own file system. Opened before the first change, so that the sync reports each error.
    pub disk: BorrowedFd<'a>,
}

/// Makes the engine's root hold what the container's `snapshot` holds. The caller syncs the disk with [`sync`].
///
/// What the engine's root cannot take is left out, and the rest goes on: otherwise a container could prevent its own end. The
/// kinds are: a whiteout and other parts of a layer of a container's own overlay, an attribute that does not fit, more links
/// than the file system takes, a name for which a directory or a quota has no room while the disk has, and what is beyond the
/// bounds of [`links`] and [`walk`].
///
/// `spill` opens a file for waiting names, where there are more names than memory should hold.
///
/// # Errors
/// [`ChangeError`] of a full or broken disk. The changes made so far stay, and a later call starts again from the beginning.
pub fn write_back(
    snapshot: BorrowedFd<'_>,
    Unchanged { base, moved, written }: Unchanged<'_>,
    EnginesRoot { merged, store }: EnginesRoot<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    let find = Find::Changed { base, moved, written, store };
    let walk = |allowance| Walk::new(snapshot, merged, find, spill, allowance)?.run();
    let allowance =
        Allowance::of(snapshot, store).map_err(ChangeError::at("stat the file system of", "/"))?;
    let (mut tally, left) = walk(allowance)?;
    if tally.again {
        let first = tally.changes;
        (tally, _) = walk(left)?;
        tally.changes += first;
    }
    Ok(tally)
}

/// Makes a new snapshot hold what the engine's root, `merged`, holds over its image: everything that the directory `upper`
/// names. Syncs the snapshot to its disk.
///
/// # Errors
/// [`ChangeError`]; the caller must delete the snapshot then.
pub fn bring_in(
    upper: BorrowedFd<'_>,
    merged: BorrowedFd<'_>,
    snapshot: Snapshot<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    bring(Find::Named { upper, since: None }, merged, snapshot, spill)
}

/// Brings into a kept snapshot what came into the engine's root after the write-back, for example by `docker cp`: the files
/// that `upper` names and that changed since. What only the snapshot holds stays. Where the snapshot has changed since, too,
/// files that a write-back left are not taken for newer, and nothing is removed.
///
/// # Errors
/// [`ChangeError`]. A later call starts again from the beginning.
pub fn bring_newer(
    upper: BorrowedFd<'_>,
    merged: BorrowedFd<'_>,
    snapshot: Snapshot<'_>,
    since: Since<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    bring(Find::Named { upper, since: Some(since) }, merged, snapshot, spill)
}

fn bring(
    find: Find<'_>,
    merged: BorrowedFd<'_>,
    snapshot: Snapshot<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    let (tally, _) = Walk::new(merged, snapshot.tree, find, spill, Allowance::NO_BOUND)?.run()?;
    if tally.changes > 0 {
        // The snapshot is then the newer of the two, also after a power cut. The end of a killed process unmounts the snapshot,
        // which syncs it, too.
        sync(snapshot.disk)?;
    }
    Ok(tally)
}

/// Syncs the file system of a directory to its disk. Reports each error of the disk since the directory was opened, but for an
/// overlay no error of its upper directory's disk (syncfs(2) knows the file system of the descriptor alone).
///
/// # Errors
/// [`ChangeError`].
pub fn sync(tree: BorrowedFd<'_>) -> Result<(), ChangeError> {
    rustix::fs::syncfs(tree).map_err(ChangeError::at("sync the file system of", "/"))
}
