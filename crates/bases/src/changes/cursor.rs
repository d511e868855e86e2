//! A place in a tree, held by one descriptor: the cursor goes down by a name and up by `..`.
//!
//! A tree may be deeper than the table of descriptors is long. Nobody else moves directories in the trees of a container that
//! has ended. If somebody did, `..` would still not lead out: the mounts are detached clones, and nothing is above their tops.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::node::{above, directory};

#[derive(Debug)]
pub(super) struct Cursor {
    here: OwnedFd,
    depth: usize,
    /// The open top of the tree: closing it may end its mount.
    _top: Option<OwnedFd>,
}

impl Cursor {
    /// A cursor at the top of a tree.
    pub(super) fn at_top(top: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self { here: directory(top, c".")?, depth: 0, _top: None })
    }

    /// A cursor at the top of a tree. The cursor keeps the top open.
    pub(super) fn with_top(top: OwnedFd) -> Result<Self, Errno> {
        let cursor = Self::at_top(top.as_fd())?;
        Ok(Self { _top: Some(top), ..cursor })
    }

    /// Goes to the directory at the end of `way`. `way` begins with the names that lead to the cursor.
    pub(super) fn follow<'a>(
        &mut self,
        way: impl Iterator<Item = &'a CString>,
    ) -> Result<BorrowedFd<'_>, Errno> {
        for name in way.skip(self.depth) {
            self.here = directory(self.here.as_fd(), name)?;
            self.depth += 1;
        }
        Ok(self.here.as_fd())
    }

    /// Goes down by one name.
    pub(super) fn down(&mut self, name: &CStr) -> Result<(), Errno> {
        self.here = directory(self.here.as_fd(), name)?;
        self.depth += 1;
        Ok(())
    }

    /// Goes up until the cursor is at most `depth` names below the top.
    pub(super) fn up_to(&mut self, depth: usize) -> Result<(), Errno> {
        while self.depth > depth {
            self.here = above(self.here.as_fd())?;
            self.depth -= 1;
        }
        Ok(())
    }

    /// How many names the cursor is below the top.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The directory of the cursor.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }
}
