//! What a container changed: from its snapshot to the engine's own root, and back.
//!
//! Both directions are one walk over two trees that makes the second like the first. The engine's
//! root is its overlay as it is mounted: the overlay itself makes the whiteouts, opaque directories
//! and attributes of its format, and nothing is written into an upper directory behind its back.
//!
//! | direction | from | to | what is looked at |
//! |---|---|---|---|
//! | [`write_back`] | the snapshot | the overlay | every inode whose change time is not a base's |
//! | [`bring_in`] | the overlay | the snapshot | every path that the upper directory names |
//! | [`bring_newer`] | the overlay | a kept snapshot | the same, if it changed after the write-back |
//!
//! Each inode of a base has one fixed change time. A snapshot inherits it, every change of an inode
//! sets it to the clock, and nothing in a container can set it. So one walk finds all changes, and
//! where nothing changed the overlay is not even looked at. A name that is gone or new changes its
//! directory.
//!
//! The trees are hostile. Every step opens one name in a directory that is open, follows no link and
//! crosses no mount; nothing but directories and regular files is opened other than by `O_PATH`; depth
//! costs heap and no stack. Each step can be done again, so a walk that was cut short is begun anew.

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

#[cfg(test)]
mod interrupted;
#[cfg(test)]
mod tests;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

pub use error::{ChangeError, LeftOut};
use frame::Find;
pub use frame::Since;
pub use pending::Spill;
pub use times::Times;
use walk::Walk;

/// What a walk did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Inodes of the first tree that were looked at.
    pub seen: u64,
    /// Changes made in the second tree.
    pub changes: u64,
    /// What the engine's root cannot hold; only [`write_back`] leaves something out.
    pub left_out: LeftOut,
    /// The first file of which [`bring_newer`] cannot tell whether it is newer; it was not brought.
    pub unclear: Option<PathBuf>,
    /// A link was made after another name of the same file had been found to be one: an overlay copies an image's file up for
    /// a link, and its other names are then no links of it any more.
    again: bool,
}

/// What is in a snapshot as in its base, although it looks changed.
#[derive(Clone, Copy)]
pub struct Unchanged<'a> {
    /// Opens the top of the base when it is needed, which is rare: it tells a directory that stayed
    /// at its place from one that was moved there. Without it such directories are compared file by file.
    pub base: &'a dyn Fn() -> Option<OwnedFd>,
    /// What changed when the snapshot was new.
    pub moved: &'a Times,
}

/// The root of a container as its engine has it.
#[derive(Debug, Clone, Copy)]
pub struct EnginesRoot<'a> {
    /// The overlay as it is mounted.
    pub merged: BorrowedFd<'a>,
    /// A directory of the file system that holds it, above what the engine limits by a quota for one container.
    pub store: BorrowedFd<'a>,
}

/// Makes the engine's root hold what the container's `snapshot` holds, and brings it to the disk.
///
/// What the engine's root cannot take, the container must not be able to stop its own end by: it is left out, and the rest
/// goes on. The kinds are: a whiteout and what else belongs to a layer of a container's own overlay, an attribute that does
/// not fit, more links than the file system takes, a name for which a directory or a quota has no room while the disk has, and
/// what is beyond the bounds of [`links`] and [`walk`].
///
/// `spill` opens a file for names that wait, where there are more than memory should hold.
///
/// # Errors
/// [`ChangeError`] of a full or broken disk. What is done stays done, and the whole can be begun anew.
pub fn write_back(
    snapshot: BorrowedFd<'_>,
    Unchanged { base, moved }: Unchanged<'_>,
    EnginesRoot { merged, store }: EnginesRoot<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    let walk = || Walk::new(snapshot, merged, Find::Changed { base, moved, store }, spill)?.run();
    let mut tally = walk()?;
    if tally.again {
        let first = tally.changes;
        tally = walk()?;
        tally.changes += first;
    }
    if tally.changes > 0 {
        // A container's fsync(2) reached the snapshot's disk, and the snapshot goes.
        sync(merged)?;
    }
    Ok(tally)
}

/// Makes a new `snapshot` hold what the engine's root, `merged`, holds over its image: all that the
/// directory `upper` names.
///
/// # Errors
/// [`ChangeError`]; the snapshot is then of no use.
pub fn bring_in(
    upper: BorrowedFd<'_>,
    merged: BorrowedFd<'_>,
    snapshot: BorrowedFd<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    Walk::new(merged, snapshot, Find::Named { upper, since: None }, spill)?.run()
}

/// Brings into a kept `snapshot` what came into the engine's root after it was written back, as by `docker cp`: what
/// `upper` names and has changed since. What only the snapshot holds stays. Where the snapshot has changed since, too, what a
/// write-back left is not taken for newer, and nothing is removed.
///
/// # Errors
/// [`ChangeError`]. The whole can be begun anew.
pub fn bring_newer(
    upper: BorrowedFd<'_>,
    merged: BorrowedFd<'_>,
    snapshot: BorrowedFd<'_>,
    since: Since<'_>,
    spill: Spill<'_>,
) -> Result<Tally, ChangeError> {
    let find = Find::Named { upper, since: Some(since) };
    let tally = Walk::new(merged, snapshot, find, spill)?.run()?;
    if tally.changes > 0 {
        // The next write-back takes the snapshot for the newer one, also after a power cut.
        sync(snapshot)?;
    }
    Ok(tally)
}

fn sync(tree: BorrowedFd<'_>) -> Result<(), ChangeError> {
    let top = node::directory(tree, c".").map_err(ChangeError::at("open", "/"))?;
    rustix::fs::syncfs(top).map_err(ChangeError::at("sync the file system of", "/"))
}
