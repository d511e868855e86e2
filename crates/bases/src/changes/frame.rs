//! What a walk knows of the directories on its way, and how it finds changes in them.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::times::Times;

/// How changes are found.
#[derive(Clone, Copy)]
pub(super) enum Find<'a> {
    /// By the time of their last change; `base` tells which directories were moved.
    /// What was moved before the container began has another time.
    /// `store` is in the file system that takes them.
    Changed { base: &'a dyn Fn() -> Option<OwnedFd>, moved: &'a Times, store: BorrowedFd<'a> },
    /// A directory has their names; with `since` only what changed after that.
    Named { upper: BorrowedFd<'a>, since: Option<Since<'a>> },
}

/// What is older than a write-back.
#[derive(Debug, Clone, Copy)]
pub struct Since<'a> {
    /// Its end by the clock, in seconds and nanoseconds.
    pub time: (i64, i64),
    /// The change times that the upper directory had at its end, if they are known. A clock can be set.
    pub times: Option<&'a Times>,
    /// The snapshot has changed since, and a part of that may be in the overlay: a write-back did not end, or never began.
    pub unsaved: bool,
}

/// What is known of a directory that is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    /// It is the base's own at its place: whatever in it has the fixed time is as it was.
    Base,
    /// What differs in it has a name in the upper directory.
    Upper,
    /// The same, and the second tree has no such directory.
    New,
    /// The same, and it was made in the second tree.
    Made,
    /// Nothing: all of it is compared.
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
    /// How many directories in it are still to be visited: the last ones that are pending.
    pub(super) below: u64,
    /// Its counterpart was looked at, and may have got other times by what was done in it.
    pub(super) touched: bool,
    /// Its counterpart keeps its own attributes.
    pub(super) keeps: bool,
    /// Its number among the places of links.
    pub(super) place: Option<usize>,
}
