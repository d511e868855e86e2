//! What a walk knows of the directories on its way, and how the walk finds changes in them.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::node::Inode;
use super::times::Times;
use super::written::Written;

/// How changes are found.
#[derive(Clone, Copy)]
pub(super) enum Find<'a> {
    /// By the time of an inode's last change. `base` tells which directories were moved. `moved` has the times of inodes that
    /// were moved before the container began. `written` finds what has no new time after a power cut. `store` is in the file
    /// system that takes the changes.
    Changed {
        base: &'a dyn Fn() -> Option<OwnedFd>,
        moved: &'a Times,
        written: Option<&'a Written>,
        store: BorrowedFd<'a>,
    },
    /// By the names in the directory `upper`; with `since` only the names that changed after that.
    Named { upper: BorrowedFd<'a>, since: Option<Since<'a>> },
}

/// The state at the end of a write-back: older changes are already in the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Since<'a> {
    /// The end of the write-back by the clock, in seconds and nanoseconds.
    pub time: (i64, i64),
    /// The change times that the upper directory had at that end, if they are known. They do not depend on the clock, which can
    /// be set.
    pub times: Option<&'a Times>,
    /// The snapshot has changed since, and the overlay may have a part of these changes: a write-back did not end, or never
    /// began.
    pub unsaved: bool,
}

/// What is known of a directory that is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    /// The directory is the base's own, at its place in the base: an inode in it with the fixed time has not changed.
    Base,
    /// Each difference in the directory has a name in the upper directory.
    Upper,
    /// As `Upper`, and the second tree has no such directory.
    New,
    /// As `Upper`, and the walk made the directory in the second tree.
    Made,
    /// Nothing is known: the whole directory is compared.
    Nothing,
}

impl Known {
    pub(super) fn of(mark: u8) -> Self {
        [Self::Base, Self::Upper, Self::New, Self::Made]
            .into_iter()
            .find(|known| *known as u8 == mark)
            .unwrap_or(Self::Nothing)
    }
}

/// A directory on the way from the top to the current one.
#[derive(Debug)]
pub(super) struct Frame {
    /// How many directories in this directory are still to be visited: they are the last names that are pending.
    pub(super) below: u64,
    /// The walk has used the counterpart, and may have changed its times.
    pub(super) touched: bool,
    /// The counterpart keeps its own attributes.
    pub(super) keeps: bool,
    /// The counterpart, from its first use on.
    pub(super) to: Option<Inode>,
    /// The change time of the directory when the walk began to list it.
    pub(super) listed: Option<(i64, i64)>,
    /// The number of the directory among the places of links.
    pub(super) place: Option<usize>,
}
