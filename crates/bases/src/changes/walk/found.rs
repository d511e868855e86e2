//! Changes that are found by an inode's time: in a snapshot, against its base. After a power cut, overwritten bytes are found by
//! their place on the disk.

use std::ffi::CStr;

use rustix::fs::{FileType, OFlags, Stat, fstat};
use sharedroot_format::base::FIXED_TIME;

use super::super::error::{Failed, doing};
use super::super::frame::{Find, Known};
use super::super::node::{Names, file, inode, kind, look, names};
use super::super::remove::remove;
use super::super::times::changed;
use super::Walk;

/// How many files with several names are remembered; beyond it they count as overwritten.
const ASKED: usize = 1 << 16;
/// How often a directory's names are gone through for those that could not be removed. Two are enough, unless another process
/// removes names meanwhile.
const PASSES: usize = 4;

/// What becomes of a name that could not be removed for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// The caller tries again.
    TriedAgain,
    /// It is left out.
    LeftOut,
}

/// What one way through a directory has removed.
#[derive(Debug, Clone, Copy)]
struct Removed {
    /// At least one name.
    some: bool,
    /// At least one name could not be removed.
    refused: bool,
}

impl Walk<'_> {
    /// The names to look at, and whether the directory may have other names than in the base.
    pub(super) fn list(&mut self, known: Known) -> Result<Option<(Names, bool)>, Failed> {
        if matches!(known, Known::Upper | Known::New | Known::Made) {
            let upper = self.guide().map_err(doing("open in the upper directory"))?;
            let names =
                upper.map(names).transpose().map_err(doing("list the upper directory's"))?;
            if known != Known::New {
                self.counterpart()?;
            }
            return Ok(names.map(|names| (names, true)));
        }
        let from = self.from.here();
        let stat = rustix::fs::fstat(from).map_err(doing("stat"))?;
        if self.leaves_out()
            && let Some(frame) = self.frames.last_mut()
        {
            frame.listed = Some(changed(&stat));
        }
        let changed = known == Known::Nothing || !self.is_as_made(&stat);
        if changed {
            self.begin()?;
            self.remove_others()?;
        }
        let names = names(self.from.here()).map_err(doing("list"))?;
        Ok(Some((names, changed)))
    }

    /// Removes from the counterpart what this directory does not have.
    pub(super) fn remove_others(&mut self) -> Result<(), Failed> {
        for _ in 0..PASSES {
            match self.remove_some(Refused::TriedAgain)? {
                Removed { refused: false, .. } => return Ok(()),
                // A removal makes a whiteout, which takes a name. The other removals may have made room for this name.
                Removed { some: true, .. } => {}
                Removed { some: false, .. } => break,
            }
        }
        self.remove_some(Refused::LeftOut).map(drop)
    }

    /// Goes through the counterpart once.
    fn remove_some(&mut self, what_is_refused: Refused) -> Result<Removed, Failed> {
        let mut removed = Removed { some: false, refused: false };
        let to = self.counterpart()?;
        for name in names(to).map_err(doing("list the engine's"))? {
            let name = name.map_err(doing("list the engine's"))?;
            if look(self.from.here(), &name).map_err(doing("stat"))?.is_some() {
                continue;
            }
            let gone = remove(self.to.here(), &name, &mut self.pending);
            match gone.map_err(|errno| doing("remove")(errno).without_content()) {
                Ok(()) => {
                    removed.some = true;
                    self.tally.changes += 1;
                }
                Err(failed) if self.goes_on(&failed, Some(&name)) => {
                    removed.refused = true;
                    if what_is_refused == Refused::LeftOut {
                        let error = self.error(failed, Some(&name));
                        self.tally.left_out.add(error);
                    }
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(removed)
    }

    /// One name of a snapshot's directory, or of a directory that is compared as a whole.
    pub(super) fn found(&mut self, name: &CStr, known: Known, changed: bool) -> Result<(), Failed> {
        let Some(stat) = look(self.from.here(), name).map_err(doing("stat"))? else {
            return Ok(());
        };
        self.tally.seen += 1;
        let as_it_was =
            known == Known::Base && self.is_as_made(&stat) && !self.is_overwritten(name, &stat);
        if kind(&stat) != FileType::Directory {
            return if as_it_was { Ok(()) } else { self.alike(name, &stat) };
        }
        // A rename changes an inode's time, so a directory with the fixed time is at its old place.
        let stayed =
            as_it_was || known == Known::Base && (!changed || self.base_has(name, &stat)?);
        if !as_it_was {
            self.directory(name)?;
        }
        self.push(name, if stayed { Known::Base } else { Known::Nothing })
    }

    /// Whether the inode has the fixed time of a base, or the time that it got when the snapshot's tree was moved.
    pub(super) fn is_as_made(&self, stat: &Stat) -> bool {
        is_fixed(stat) || matches!(self.find, Find::Changed { moved, .. } if moved.has(stat))
    }

    /// Whether the container may have overwritten bytes of the file, although the file has the time of its base.
    fn is_overwritten(&mut self, name: &CStr, stat: &Stat) -> bool {
        let Find::Changed { written: Some(written), .. } = self.find else { return false };
        if kind(stat) != FileType::RegularFile || stat.st_size == 0 {
            return false;
        }
        if stat.st_nlink > 1 && self.asked.len() >= ASKED {
            return true;
        }
        let here = self.from.here();
        // A file that cannot be opened, or is another one by now, counts as overwritten: the comparison reports the error.
        let ask = || {
            let file = file(here, name, OFlags::RDONLY).ok();
            let file = file.filter(|file| fstat(file).is_ok_and(|now| inode(&now) == inode(stat)));
            file.is_none_or(|file| written.has(file))
        };
        match stat.st_nlink {
            // The kernel goes through all pieces of a file, and an image can give it many names.
            2.. => *self.asked.entry(inode(stat)).or_insert_with(ask),
            _ => ask(),
        }
    }

    /// Whether the base has the same directory under this name.
    pub(super) fn base_has(&mut self, name: &CStr, stat: &Stat) -> Result<bool, Failed> {
        let base = self.guide().map_err(doing("open in the base"))?;
        let found = base.map_or(Ok(None), |base| look(base, name));
        let found = found.map_err(doing("stat in the base"))?;
        Ok(found.is_some_and(|found| {
            kind(&found) == FileType::Directory && found.st_ino == stat.st_ino
        }))
    }
}

fn is_fixed(stat: &Stat) -> bool {
    (stat.st_ctime, stat.st_ctime_nsec) == (FIXED_TIME, 0)
}
