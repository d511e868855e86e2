//! A place in a tree, held by one descriptor: the cursor goes down by a name and up by `..`.
//!
//! A tree may be deeper than the table of descriptors is long. Another process that has a descriptor of the tree can move its
//! directories meanwhile, and then `..` leads to a place that this process has chosen. So the cursor keeps the inode of each
//! directory on its way, and believes `..` only if it leads to that inode.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::Errno;

use super::node::{Inode, above, directory, inode};

/// How many directories a cursor opens again in total. Another process can move one each time the cursor goes up.
pub(super) const AGAIN: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Cursor {
    /// The open top of the tree: closing it may end its mount.
    top: OwnedFd,
    top_inode: Inode,
    here: OwnedFd,
    /// The names that lead from the top to the cursor, with what was opened by them.
    way: Vec<(CString, Inode)>,
    /// How many more directories may be opened again; `None` after there were too many. The cursor then only goes up.
    again: Option<usize>,
}

impl Cursor {
    /// A cursor at the top of a tree.
    pub(super) fn at_top(top: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::with_top(directory(top, c".")?)
    }

    /// A cursor at the top of a tree. The cursor keeps the top open.
    pub(super) fn with_top(top: OwnedFd) -> Result<Self, Errno> {
        let here = directory(top.as_fd(), c".")?;
        let top_inode = inode(&fstat(&here)?);
        Ok(Self { top, top_inode, here, way: Vec::new(), again: Some(AGAIN) })
    }

    /// Goes to the directory at the end of `way`. `way` begins with the names that lead to the cursor.
    pub(super) fn follow<'a>(
        &mut self,
        way: impl Iterator<Item = &'a CString>,
    ) -> Result<BorrowedFd<'_>, Errno> {
        for name in way.skip(self.depth()) {
            self.again.ok_or(Errno::STALE)?;
            self.down(name)?;
        }
        Ok(self.here.as_fd())
    }

    /// Goes down by one name.
    pub(super) fn down(&mut self, name: &CStr) -> Result<(), Errno> {
        let below = directory(self.here.as_fd(), name)?;
        self.way.push((name.to_owned(), inode(&fstat(&below)?)));
        self.here = below;
        Ok(())
    }

    /// Goes up until the cursor is at most `depth` names below the top. If a directory of the way is not at its place any more,
    /// the cursor goes further up, to the last directory that is.
    pub(super) fn up_to(&mut self, depth: usize) -> Result<(), Errno> {
        while self.depth() > depth {
            let known = self.way.iter().nth_back(1).map_or(self.top_inode, |(_, inode)| *inode);
            match found(above(self.here.as_fd()), known)? {
                Some(above) => self.here = above,
                None => return self.again_to(depth),
            }
            self.way.pop();
        }
        Ok(())
    }

    /// Goes from the top down the first `depth` names of the way, as far as they lead to the same directories as before, and as
    /// the bound allows.
    fn again_to(&mut self, depth: usize) -> Result<(), Errno> {
        let mut way = std::mem::take(&mut self.way);
        way.truncate(depth);
        self.here = directory(self.top.as_fd(), c".")?;
        self.again = self.again.and_then(|rest| rest.checked_sub(way.len()));
        if self.again.is_none() {
            return Ok(());
        }
        for (name, inode) in way {
            let Some(below) = found(directory(self.here.as_fd(), &name), inode)? else { break };
            self.here = below;
            self.way.push((name, inode));
        }
        Ok(())
    }

    /// How many names the cursor is below the top.
    pub(super) fn depth(&self) -> usize {
        self.way.len()
    }

    /// The last name of the way.
    pub(super) fn name(&self) -> Option<&CStr> {
        self.way.last().map(|(name, _)| name.as_c_str())
    }

    /// The inode of the directory.
    pub(super) fn inode(&self) -> Inode {
        self.way.last().map_or(self.top_inode, |(_, inode)| *inode)
    }

    /// The directory of the cursor.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }
}

/// What was opened, if it is this directory.
fn found(opened: Result<OwnedFd, Errno>, known: Inode) -> Result<Option<OwnedFd>, Errno> {
    match opened {
        Ok(opened) => Ok((inode(&fstat(&opened)?) == known).then_some(opened)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => Ok(None),
        Err(errno) => Err(errno),
    }
}
