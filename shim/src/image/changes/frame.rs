//! What a walk knows of the directories on its way, and how it finds changes in them.

use std::os::fd::{BorrowedFd, OwnedFd};

/// How changes are found.
#[derive(Clone, Copy)]
pub(super) enum Find<'a> {
    /// By the time of their last change; `base` tells which directories were moved.
    Changed { base: &'a dyn Fn() -> Option<OwnedFd> },
    /// A directory has their names; with `since` only what changed after that time, in seconds and nanoseconds.
    Named { upper: BorrowedFd<'a>, since: Option<(i64, i64)> },
}

/// What is known of a directory that is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    /// It is the base's own at its place: whatever in it has the fixed time is as it was.
    Base,
    /// What differs in it has a name in the upper directory.
    Upper,
    /// Nothing: all of it is compared.
    Nothing,
}

impl Known {
    pub(super) fn of(mark: u8) -> Self {
        [Self::Base, Self::Upper]
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
