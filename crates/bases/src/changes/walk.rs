//! The walk: which directories are visited, and what in them is made alike.

mod copied;

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;
use sharedroot_format::base::FIXED_TIME;

use super::Tally;
use super::content::Buffers;
use super::cursor::Cursor;
use super::entry;
use super::error::{ChangeError, Failed, Of, doing, has_room, path};
use super::frame::{Find, Frame, Known, Since};
use super::links::{Linked, Links};
use super::node::{Names, Node, is_whiteout, kind, look, names};
use super::part;
use super::pending::{Pending, Spill};
use super::remove::remove;
use super::times::changed;

/// How many directories in one another a walk goes down: each costs it a name in memory. What is deeper is left out.
pub(super) const DEPTH: usize = 4096;

pub(super) struct Walk<'a> {
    to_top: BorrowedFd<'a>,
    from: Cursor,
    to: Cursor,
    find: Find<'a>,
    /// In the base or in the upper directory, once it is needed; none if there is no base.
    guide: Option<Option<Cursor>>,
    /// The names of the frames, without the first.
    way: Vec<CString>,
    frames: Vec<Frame>,
    pending: Pending<'a>,
    links: Links,
    buffers: Buffers,
    tally: Tally,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        from: BorrowedFd<'a>,
        to: BorrowedFd<'a>,
        find: Find<'a>,
        spill: Spill<'a>,
    ) -> Result<Self, ChangeError> {
        let cursor = |top| Cursor::at_top(top).map_err(ChangeError::at("open", "/"));
        Ok(Self {
            to_top: to,
            from: cursor(from)?,
            to: cursor(to)?,
            find,
            guide: None,
            way: Vec::new(),
            frames: Vec::new(),
            pending: Pending::new(spill),
            links: Links::new(matches!(find, Find::Changed { .. })),
            buffers: Buffers::default(),
            tally: Tally::default(),
        })
    }

    /// With other bounds of [`Links`].
    #[cfg(test)]
    pub(super) fn bounded(mut self, bound: usize, steps: u64) -> Self {
        self.links = Links::bounded(true, bound, steps);
        self
    }

    pub(super) fn run(mut self) -> Result<Tally, ChangeError> {
        let known = match self.find {
            Find::Changed { .. } => Known::Base,
            Find::Named { .. } => Known::Upper,
        };
        self.visit(known)?;
        while !self.frames.is_empty() {
            match self.next().map_err(|failed| self.error(failed, None))? {
                Some((name, known)) => {
                    let down = self.from.down(&name).map_err(doing("open"));
                    self.way.push(name);
                    match down {
                        Ok(()) => self.visit(known)?,
                        Err(failed) => {
                            self.leave_out(failed, None)?;
                            self.way.pop();
                        }
                    }
                }
                None => {
                    if let Err(failed) = self.finish() {
                        self.leave_out(failed, None)?;
                    }
                    self.leave().map_err(|failed| self.error(failed, None))?;
                }
            }
        }
        Ok(self.tally)
    }

    /// The next directory to visit in the current one.
    fn next(&mut self) -> Result<Option<(CString, Known)>, Failed> {
        let Some(frame) = self.frames.last_mut().filter(|frame| frame.below > 0) else {
            return Ok(None);
        };
        frame.below -= 1;
        let next = self.pending.pop().map_err(doing("read the names below"))?;
        Ok(next.map(|(name, mark)| (name, Known::of(mark))))
    }

    /// Goes through the directory at the end of the way, whose frame it adds.
    fn visit(&mut self, known: Known) -> Result<(), ChangeError> {
        let keeps =
            known == Known::Upper && matches!(self.find, Find::Named { since: Some(_), .. });
        let touched = known == Known::Made;
        self.frames.push(Frame { below: 0, touched, keeps, place: None });
        match self.list(known) {
            Ok(Some((names, changed))) => self.visit_all(names, known, changed),
            Ok(None) => Ok(()),
            Err(failed) => self.leave_out(failed, None),
        }
    }

    fn visit_all(&mut self, names: Names, known: Known, changed: bool) -> Result<(), ChangeError> {
        for name in names {
            let name = match name.map_err(doing("list")) {
                Ok(name) => name,
                Err(failed) => return self.leave_out(failed, None),
            };
            let done = match known {
                Known::Upper | Known::New | Known::Made => self.named(&name),
                Known::Base | Known::Nothing => self.found(&name, known, changed),
            };
            if let Err(failed) = done {
                self.leave_out(failed, Some(&name))?;
            }
        }
        Ok(())
    }

    /// Whether what the second tree cannot take keeps the rest from nothing.
    fn leaves_out(&self) -> bool {
        matches!(self.find, Find::Changed { .. })
    }

    /// Whether the rest can be done although this failed.
    fn goes_on(&mut self, failed: &Failed, name: Option<&CStr>) -> bool {
        let Find::Changed { store, .. } = self.find else { return false };
        match failed.of {
            Of::File => true,
            Of::Host => false,
            Of::Room => !self.pending.has_failed() && has_room(store, self.room_of(name)),
            Of::RoomForNoContent => !self.pending.has_failed() && has_room(store, 0),
        }
    }

    /// How many bytes a name takes at most: those of the file, and those of an image's file of that name, which an overlay
    /// copies before any change.
    fn room_of(&mut self, name: Option<&CStr>) -> u64 {
        let Some(name) = name else { return 0 };
        let blocks = |dir| {
            let found = look(dir, name).ok().flatten();
            found.map_or(0, |found| u64::try_from(found.st_blocks).unwrap_or(0))
        };
        let from = blocks(self.from.here());
        let to = self.to.follow(self.way.iter()).map_or(0, blocks);
        // Whatever the file system's blocks are (stat(3type)).
        from.saturating_add(to).saturating_mul(512)
    }

    /// Takes note of what failed, or fails.
    fn leave_out(&mut self, failed: Failed, name: Option<&CStr>) -> Result<(), ChangeError> {
        let (goes_on, part) = (self.goes_on(&failed, name), failed.part);
        let error = self.error(failed, name);
        if !goes_on {
            return Err(error);
        }
        if let (Some(mode), Some(name)) = (part, name)
            && let Ok(to) = self.to.follow(self.way.iter())
            && let Err(errno) = part::show(to, name, mode)
        {
            tracing::debug!("{error}: what is there keeps its mode: {errno}");
        }
        self.tally.left_out.add(error);
        Ok(())
    }

    /// The names to look at, and whether there may be other names now than in the base.
    fn list(&mut self, known: Known) -> Result<Option<(Names, bool)>, Failed> {
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
        let changed = known == Known::Nothing || !self.is_as_made(&stat);
        if changed {
            self.remove_others()?;
        }
        let names = names(self.from.here()).map_err(doing("list"))?;
        Ok(Some((names, changed)))
    }

    /// Removes what the counterpart has and this directory has not.
    fn remove_others(&mut self) -> Result<(), Failed> {
        let mut last = false;
        loop {
            let (removed, refused) = self.remove_some(last)?;
            if !refused || last {
                return Ok(());
            }
            // A whiteout takes a name, for which the others may have made room.
            last = !removed;
        }
    }

    /// Goes through the counterpart once, and returns whether some were removed and some refused; those the `last` time leaves out.
    fn remove_some(&mut self, last: bool) -> Result<(bool, bool), Failed> {
        let (mut removed, mut refused) = (false, false);
        let to = self.counterpart()?;
        for name in names(to).map_err(doing("list the engine's"))? {
            let name = name.map_err(doing("list the engine's"))?;
            if look(self.from.here(), &name).map_err(doing("stat"))?.is_some() {
                continue;
            }
            let gone = remove(self.to.here(), &name, &mut self.pending);
            match gone.map_err(|errno| doing("remove")(errno).without_content()) {
                Ok(()) => {
                    removed = true;
                    self.tally.changes += 1;
                }
                Err(failed) if self.goes_on(&failed, Some(&name)) => {
                    refused = true;
                    if last {
                        let error = self.error(failed, Some(&name));
                        self.tally.left_out.add(error);
                    }
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok((removed, refused))
    }

    /// One name of a directory of the snapshot, or of one that is compared as a whole.
    fn found(&mut self, name: &CStr, known: Known, changed: bool) -> Result<(), Failed> {
        let Some(stat) = look(self.from.here(), name).map_err(doing("stat"))? else {
            return Ok(());
        };
        self.tally.seen += 1;
        let as_it_was = known == Known::Base && self.is_as_made(&stat);
        if kind(&stat) != FileType::Directory {
            return if as_it_was { Ok(()) } else { self.alike(name, &stat) };
        }
        // A rename changes an inode's time, so one with the fixed time is where it was.
        let stayed =
            as_it_was || known == Known::Base && (!changed || self.base_has(name, &stat)?);
        if !as_it_was {
            self.directory(name)?;
        }
        self.push(name, if stayed { Known::Base } else { Known::Nothing })
    }

    /// One name of the upper directory.
    fn named(&mut self, name: &CStr) -> Result<(), Failed> {
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

    /// A directory of the upper directory, with what is newer in it. One that the snapshot has keeps what only it can hold.
    fn named_directory(&mut self, name: &CStr, newer: bool) -> Result<(), Failed> {
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
    fn is_newer(&mut self, name: &CStr) -> Result<bool, Failed> {
        let Find::Named { since: Some(since), .. } = self.find else { return Ok(true) };
        let Some(upper) = self.guide().map_err(doing("open in the upper directory"))? else {
            return Ok(false);
        };
        let stat = || Ok((look(upper, name)?, rustix::fs::fstat(upper)?));
        let (found, dir) = stat().map_err(doing("stat in the upper directory"))?;
        Ok(found.is_some_and(|found| match since.times {
            Some(times) => !times.has_name(&dir, name, &found),
            // The time of a whiteout says nothing: see there.
            None => !is_whiteout(&found) && changed(&found) > since.time,
        }))
    }

    /// Has a directory visited later.
    fn push(&mut self, name: &CStr, known: Known) -> Result<(), Failed> {
        if self.way.len() >= DEPTH {
            let step = "go deeper than 4,096 directories, into";
            let (source, of) = (Errno::NAMETOOLONG, Of::File);
            return Err(Failed { step, source, of, part: None });
        }
        self.pending.push(name, known as u8).map_err(doing("take note of"))?;
        if let Some(frame) = self.frames.last_mut() {
            frame.below += 1;
        }
        Ok(())
    }

    /// Whether the inode has the time of a base's, or the one that its move gave it.
    fn is_as_made(&self, stat: &Stat) -> bool {
        is_fixed(stat) || matches!(self.find, Find::Changed { moved, .. } if moved.has(stat))
    }

    /// Whether the base has the same directory under this name.
    fn base_has(&mut self, name: &CStr, stat: &Stat) -> Result<bool, Failed> {
        let base = self.guide().map_err(doing("open in the base"))?;
        let found = base.map_or(Ok(None), |base| look(base, name));
        let found = found.map_err(doing("stat in the base"))?;
        Ok(found.is_some_and(|found| {
            kind(&found) == FileType::Directory && found.st_ino == stat.st_ino
        }))
    }

    /// Where the way leads to in the base or in the upper directory.
    fn guide(&mut self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        if self.guide.is_none() {
            let top = match self.find {
                Find::Changed { base, .. } => base(),
                Find::Named { upper, .. } => Some(rustix::io::fcntl_dupfd_cloexec(upper, 0)?),
            };
            self.guide = Some(top.map(Cursor::with_top).transpose()?);
        }
        let guide = self.guide.as_mut().and_then(Option::as_mut);
        guide.map(|guide| guide.follow(self.way.iter())).transpose()
    }

    /// The other tree's directory.
    fn counterpart(&mut self) -> Result<BorrowedFd<'_>, Failed> {
        if let Some(frame) = self.frames.last_mut() {
            frame.touched = true;
        }
        self.to.follow(self.way.iter()).map_err(doing("open the other tree's"))
    }

    /// Makes sure that the other tree has a directory of this name; its attributes come when it is left.
    fn directory(&mut self, name: &CStr) -> Result<(), Failed> {
        self.counterpart()?;
        self.directory_here(name).map(drop)
    }

    /// The same where the second tree's cursor is, and whether it was made.
    fn directory_here(&mut self, name: &CStr) -> Result<bool, Failed> {
        let to = self.to.here();
        match look(to, name).map_err(doing("stat"))? {
            Some(found) if kind(&found) == FileType::Directory => return Ok(false),
            Some(_) => remove(to, name, &mut self.pending).map_err(doing("replace"))?,
            None => {}
        }
        let private = Mode::from_raw_mode(0o700);
        rustix::fs::mkdirat(to, name, private).map_err(doing("make the directory"))?;
        self.tally.changes += 1;
        Ok(true)
    }

    /// Makes what is no directory alike.
    fn alike(&mut self, name: &CStr, found: &Stat) -> Result<(), Failed> {
        if found.st_nlink > 1 {
            let place = self.place()?;
            if !self.links.is_first(found, place, name)? {
                return self.link(name, found);
            }
        }
        let node = Node::named(self.from.here(), name).map_err(doing("open"))?;
        self.counterpart()?;
        let help = (&mut self.buffers, &mut self.pending);
        let changed = entry::make(self.to.here(), name, &node, &mut self.links, help)?;
        self.tally.changes += u64::from(changed);
        self.refuse_layer(&node)
    }

    /// Makes another name of a file a link of its first.
    fn link(&mut self, name: &CStr, found: &Stat) -> Result<(), Failed> {
        self.counterpart()?;
        let place = (self.to.here(), name);
        if let Linked::Made { after_another } =
            self.links.link(found, self.to_top, place, &mut self.pending)?
        {
            self.tally.changes += 1;
            self.tally.again |= after_another;
        }
        Ok(())
    }

    fn refuse_layer(&self, node: &Node) -> Result<(), Failed> {
        if self.leaves_out() { entry::refuse_layer(node) } else { Ok(()) }
    }

    /// The number of the current directory among the places of links.
    fn place(&mut self) -> Result<usize, Failed> {
        // The first frame is the top's. Mostly the last one has a place.
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

    /// Gives the directory its attributes, for all that changes its times is done.
    fn finish(&mut self) -> Result<(), Failed> {
        if !self.frames.last().is_some_and(|frame| frame.touched && !frame.keeps) {
            return Ok(());
        }
        let to = self.to.follow(self.way.iter()).map_err(doing("open the other tree's"))?;
        let changed = entry::finish_directory(self.from.here(), to)?;
        self.tally.changes += u64::from(changed);
        self.refuse_layer(&Node::directory(self.from.here()).map_err(doing("open"))?)
    }

    /// Goes up.
    fn leave(&mut self) -> Result<(), Failed> {
        self.frames.pop();
        if self.way.pop().is_some() {
            let depth = self.way.len();
            let guide = self.guide.as_mut().and_then(Option::as_mut);
            let cursors = [Some(&mut self.from), Some(&mut self.to), guide];
            for cursor in cursors.into_iter().flatten() {
                cursor.up_to(depth).map_err(doing("leave a directory of"))?;
            }
        }
        Ok(())
    }

    fn error(&self, failed: Failed, name: Option<&CStr>) -> ChangeError {
        let names = self.way.iter().map(|name| name.as_bytes()).chain(name.map(CStr::to_bytes));
        let names: Vec<_> = names.collect();
        ChangeError { step: failed.step, path: path(names.into_iter()), source: failed.source }
    }
}

fn is_fixed(stat: &Stat) -> bool {
    (stat.st_ctime, stat.st_ctime_nsec) == (FIXED_TIME, 0)
}
