//! What came into the engine's overlay while a snapshot kept changes that the overlay lacks in whole or in part: which files of
//! the overlay somebody copied there, and which files an unfinished write-back left.

use std::ffi::{CStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::entry;
use super::super::error::{Failed, doing};
use super::super::frame::{Find, Known, Since};
use super::super::node::{Node, directory, kind, look};
use super::super::times::changed;
use super::Walk;

impl<'a> Walk<'a> {
    fn unsaved(&self) -> Option<Since<'a>> {
        match self.find {
            Find::Named { since: Some(since), .. } if since.unsaved => Some(since),
            _ => None,
        }
    }

    /// Whether the snapshot has changes that the overlay lacks in whole or in part.
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved().is_some()
    }

    /// Whether the overlay's newer file was left by a write-back: then the snapshot has the whole file. A file that no
    /// write-back can have left, and that is older than the kept times, is recorded: nobody can tell where this file is from.
    pub(super) fn is_own(&mut self, name: &CStr) -> Result<bool, Failed> {
        let Some(Since { time, .. }) = self.unsaved() else { return Ok(false) };
        if self.is_there()? && look(self.to.here(), name).map_err(doing("stat"))?.is_some() {
            let open = |dir| Node::named(dir, name).map_err(doing("open"));
            let (found, wanted) = (open(self.from.here())?, open(self.to.here())?);
            if entry::is_left_of(&found, &wanted).map_err(doing("compare"))? {
                return Ok(true);
            }
        }
        let upper = self.guide().map_err(doing("open in the upper directory"))?;
        let found = upper.map_or(Ok(None), |upper| look(upper, name));
        let found = found.map_err(doing("stat in the upper directory"))?;
        if found.is_some_and(|found| changed(&found) < time) {
            let names = self.way.iter().map(|name| name.as_bytes());
            let names: Vec<_> = names.chain([name.to_bytes()]).collect();
            // The whole path, because an error tells people to remove the file.
            self.tally.unclear.get_or_insert_with(|| {
                PathBuf::from(OsString::from_vec([b"/", &*names.join(&b'/')].concat()))
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// A directory of the upper directory that the snapshot lacks is made only when something in it is brought in: a write-back
    /// that removes a directory keeps it in the overlay until everything in it is removed.
    pub(super) fn copied_directory(&mut self, name: &CStr) -> Result<(), Failed> {
        if self.is_there()? {
            let found = look(self.to.here(), name).map_err(doing("stat"))?;
            if found.is_some_and(|found| kind(&found) == FileType::Directory) {
                return self.push(name, Known::Upper);
            }
        }
        if !self.is_made_since(name)? {
            return self.push(name, Known::New);
        }
        self.make_way()?;
        self.directory_here(name)?;
        self.push(name, Known::Made)
    }

    /// Whether somebody made this directory: it is not in the kept times, and it is no copy of an image's directory. An overlay
    /// copies an image's directory up for any change in it, and records the origin of the copy.
    fn is_made_since(&mut self, name: &CStr) -> Result<bool, Failed> {
        let times = self.unsaved().and_then(|since| since.times);
        let Some(upper) = self.guide().map_err(doing("open in the upper directory"))? else {
            return Ok(false);
        };
        let made = || -> Result<bool, Errno> {
            let node = Node::directory(directory(upper, name)?.as_fd())?;
            if times.is_some_and(|times| times.knows(&node.stat)) {
                return Ok(false);
            }
            match rustix::fs::getxattr(node.path(), c"trusted.overlay.origin", &mut [0_u8; 1][..]) {
                Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(true),
                Ok(_) | Err(Errno::RANGE) => Ok(false),
                Err(errno) => Err(errno),
            }
        };
        made().map_err(doing("look in the upper directory at"))
    }

    /// Makes the directories on the way that the snapshot lacks. A file in the place of such a directory is removed.
    pub(super) fn make_way(&mut self) -> Result<(), Failed> {
        while self.is_unsaved() && !self.is_there()? {
            let depth = self.to.depth();
            let Some(name) = self.way.get(depth).cloned() else { break };
            if !self.directory_here(&name)? {
                break;
            }
            // The first frame is the top's.
            if let Some(frame) = self.frames.get_mut(depth + 1) {
                frame.touched = true;
            }
        }
        Ok(())
    }

    /// Moves the second tree's cursor to the current directory, or to its nearest parent that exists.
    fn is_there(&mut self) -> Result<bool, Failed> {
        match self.go_to() {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(doing("open the other tree's")(errno)),
        }
    }
}
