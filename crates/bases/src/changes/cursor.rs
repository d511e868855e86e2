//! A place in a tree, by one descriptor: it goes down by a name and up by `..`.
//!
//! A tree may be deeper than a table of descriptors is long. Nobody else moves directories in the
//! trees of a container that has ended, and where somebody did, `..` still would not lead out: the
//! mounts are detached clones, whose tops have nothing above.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::node::{above, directory};

#[derive(Debug)]
pub(super) struct Cursor {
    here: OwnedFd,
    depth: usize,
    /// A mount may end with it.
    _top: Option<OwnedFd>,
}

impl Cursor {
    /// At the top of a tree.
    pub(super) fn at_top(top: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self { here: directory(top, c".")?, depth: 0, _top: None })
    }

    /// At the top of a tree that is kept open as long as the cursor is.
    pub(super) fn with_top(top: OwnedFd) -> Result<Self, Errno> {
        let cursor = Self::at_top(top.as_fd())?;
        Ok(Self { _top: Some(top), ..cursor })
    }

    /// The directory at the end of `way`, which begins with the way to where the cursor is.
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

    /// One name down.
    pub(super) fn down(&mut self, name: &CStr) -> Result<(), Errno> {
        self.here = directory(self.here.as_fd(), name)?;
        self.depth += 1;
        Ok(())
    }

    /// Back up, if the cursor is deeper than `depth`.
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

    /// Where the cursor is.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }
}
