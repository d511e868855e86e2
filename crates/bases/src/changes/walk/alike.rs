//! Makes one name of the second tree like the same name of the first tree.

use std::ffi::CStr;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;

use super::super::entry::{self, Room};
use super::super::error::{Failed, doing};
use super::super::links::{Linked, Links, NameIn};
use super::super::node::{Node, inode, kind, look};
use super::super::remove::remove;
use super::Walk;

impl Walk<'_> {
    /// Makes sure that the second tree has a directory of this name. The directory gets its attributes when the walk leaves it.
    pub(super) fn directory(&mut self, name: &CStr) -> Result<(), Failed> {
        self.counterpart()?;
        self.directory_here(name).map(drop)
    }

    /// Does the same at the place of the second tree's cursor. Returns whether the directory was made.
    pub(super) fn directory_here(&mut self, name: &CStr) -> Result<bool, Failed> {
        let to = self.to.here();
        match look(to, name).map_err(doing("stat"))? {
            Some(found) if kind(&found) == FileType::Directory => return Ok(false),
            Some(_) => remove(to, name, &mut self.pending).map_err(doing("replace"))?,
            None => {}
        }
        self.buffers.allowance.make()?;
        let private = Mode::from_raw_mode(0o700);
        rustix::fs::mkdirat(to, name, private).map_err(doing("make the directory"))?;
        self.tally.changes += 1;
        Ok(true)
    }

    /// Makes an entry that is no directory like its counterpart.
    pub(super) fn alike(&mut self, name: &CStr, found: &Stat) -> Result<(), Failed> {
        if found.st_nlink > 1 {
            let place = self.place()?;
            if !self.links.is_first(found, place, name)? {
                return self.link(name, found);
            }
        }
        let node = Node::named(self.from.here(), name).map_err(doing("open"))?;
        if (inode(&node.stat), kind(&node.stat)) != (inode(found), kind(found)) {
            return Err(doing("open")(Errno::STALE));
        }
        self.counterpart()?;
        let in_place = self.leaves_out();
        let room = Room { buffers: &mut self.buffers, pending: &mut self.pending, in_place };
        let changed = entry::make(self.to.here(), name, &node, &mut self.links, room)?;
        self.tally.changes += u64::from(changed);
        self.refuse_layer(&node)
    }

    /// Makes another name of a file a link to the file's first name.
    pub(super) fn link(&mut self, name: &CStr, found: &Stat) -> Result<(), Failed> {
        self.buffers.allowance.name(name)?;
        self.counterpart()?;
        let link = NameIn { dir: self.to.here(), name };
        if let Linked::Made { after_another } =
            self.links.link(found, self.to_top, link, &mut self.pending)?
        {
            self.tally.changes += 1;
            self.tally.again |= after_another;
        }
        Ok(())
    }

    pub(super) fn refuse_layer(&self, node: &Node) -> Result<(), Failed> {
        if self.leaves_out() { entry::refuse_layer(node) } else { Ok(()) }
    }

    /// The number of the current directory among the places of links.
    pub(super) fn place(&mut self) -> Result<usize, Failed> {
        // The first frame is the top's. Usually the last frame has a place already.
        let known = self.frames.iter().skip(1).rposition(|frame| frame.place.is_some());
        let from = known.unwrap_or(0);
        let mut above = Links::TOP;
        for (frame, name) in self.frames.iter_mut().skip(1).zip(&self.way).skip(from) {
            above = match frame.place {
                Some(place) => place,
                None => *frame.place.insert(self.links.add_place(above, name)?),
            };
        }
        Ok(above)
    }
}
