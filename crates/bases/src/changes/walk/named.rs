//! Changes that are found by their names in the upper directory.

use std::ffi::CStr;

use rustix::fs::FileType;

use super::super::entry;
use super::super::error::{Failed, doing};
use super::super::frame::{Find, Known, Since};
use super::super::node::{is_whiteout, kind, look};
use super::super::remove::remove;
use super::super::times::changed;
use super::Walk;

impl Walk<'_> {
    /// One name of the upper directory.
    pub(super) fn named(&mut self, name: &CStr) -> Result<(), Failed> {
        self.tally.seen += 1;
        let newer = self.is_newer(name)?;
        match look(self.from.here(), name).map_err(doing("stat"))? {
            None if !newer || self.is_unsaved() => Ok(()),
            None => {
                self.counterpart()?;
                let to = self.to.here();
                if look(to, name).map_err(doing("stat"))?.is_some() {
                    remove(to, name, &mut self.pending).map_err(doing("remove"))?;
                    self.tally.changes += 1;
                }
                Ok(())
            }
            Some(stat) if kind(&stat) == FileType::Directory => {
                match self.find {
                    Find::Named { since: Some(Since { unsaved: true, .. }), .. } => {
                        return self.copied_directory(name);
                    }
                    Find::Named { since: Some(_), .. } => return self.named_directory(name, newer),
                    _ => {}
                }
                self.directory(name)?;
                let upper = self.guide().map_err(doing("open in the upper directory"))?;
                let merged = upper.map_or(Ok(false), |upper| entry::is_merged(upper, name));
                let merged = merged.map_err(doing("read the attributes of"))?;
                self.push(name, if merged { Known::Upper } else { Known::Nothing })
            }
            Some(_) if !newer || self.is_own(name)? => Ok(()),
            Some(stat) => {
                self.make_way()?;
                self.alike(name, &stat)
            }
        }
    }

    /// A directory of the upper directory, with the newer files in it. A directory that the snapshot has keeps the files that
    /// only the snapshot holds.
    pub(super) fn named_directory(&mut self, name: &CStr, newer: bool) -> Result<(), Failed> {
        let found = look(self.counterpart()?, name).map_err(doing("stat"))?;
        let is_there = found.is_some_and(|found| kind(&found) == FileType::Directory);
        if is_there {
            return self.push(name, Known::Upper);
        }
        if newer {
            self.directory(name)?;
            self.push(name, Known::Nothing)?;
        }
        Ok(())
    }

    /// Whether the upper directory's file of this name is to be looked at.
    pub(super) fn is_newer(&mut self, name: &CStr) -> Result<bool, Failed> {
        let Find::Named { since: Some(since), .. } = self.find else { return Ok(true) };
        let Some(upper) = self.guide().map_err(doing("open in the upper directory"))? else {
            return Ok(false);
        };
        let stat = || Ok((look(upper, name)?, rustix::fs::fstat(upper)?));
        let (found, dir) = stat().map_err(doing("stat in the upper directory"))?;
        Ok(found.is_some_and(|found| match since.times {
            Some(times) => !times.has_name(&dir, name, &found),
            // A whiteout's time says nothing: see `Times`.
            None => !is_whiteout(&found) && changed(&found) > since.time,
        }))
    }
}
