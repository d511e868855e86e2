//! The walk: which directories are visited, in which order, and how the walk keeps the path to them.

mod alike;
mod copied;
mod found;
mod left_out;
mod named;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::Tally;
use super::allowance::Allowance;
use super::content::Buffers;
use super::cursor::Cursor;
use super::entry;
use super::error::{ChangeError, Failed, Of, doing};
use super::frame::{Find, Frame, Known};
use super::links::{Links, LookedAt};
use super::node::{Inode, Names, Node};
use super::pending::{Pending, Spill};
use super::times::changed;

/// How many directories deep a walk goes: each takes a name in memory. Everything deeper is left out.
pub(super) const DEPTH: usize = 4096;

pub(super) struct Walk<'a> {
    to_top: BorrowedFd<'a>,
    from: Cursor,
    to: Cursor,
    find: Find<'a>,
    /// A cursor in the base or in the upper directory, opened when it is needed; `Some(None)` if there is no base.
    guide: Option<Option<Cursor>>,
    /// The names of the directories in `frames`, without the top.
    way: Vec<CString>,
    frames: Vec<Frame>,
    pending: Pending<'a>,
    links: Links,
    buffers: Buffers,
    /// Whether files with several names may have been overwritten, for all of their names.
    asked: HashMap<Inode, bool>,
    tally: Tally,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        from: BorrowedFd<'a>,
        to: BorrowedFd<'a>,
        find: Find<'a>,
        spill: Spill<'a>,
        allowance: Allowance,
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
            links: Links::new(match find {
                Find::Changed { .. } => LookedAt::All,
                Find::Named { .. } => LookedAt::Some,
            }),
            buffers: Buffers::new(allowance),
            asked: HashMap::new(),
            tally: Tally::default(),
        })
    }

    /// Sets other bounds for [`Links`].
    #[cfg(test)]
    pub(super) fn bounded(mut self, bound: usize, steps: u64) -> Self {
        self.links = Links::bounded(LookedAt::All, bound, steps);
        self
    }

    /// Sets another bound for the names in memory.
    #[cfg(test)]
    pub(super) fn with_piece(mut self, piece: usize) -> Self {
        self.pending = self.pending.in_pieces_of(piece);
        self
    }

    /// Also returns what is left of the allowance.
    pub(super) fn run(mut self) -> Result<(Tally, Allowance), ChangeError> {
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
                    for failed in
                        [self.finish(), self.is_as_listed()].into_iter().filter_map(Result::err)
                    {
                        self.leave_out(failed, None)?;
                    }
                    self.leave().map_err(|failed| self.error(failed, None))?;
                    self.leave_moved()?;
                }
            }
        }
        Ok((self.tally, self.buffers.allowance))
    }

    /// Takes the next directory to visit in the current directory.
    fn next(&mut self) -> Result<Option<(CString, Known)>, Failed> {
        let Some(frame) = self.frames.last_mut().filter(|frame| frame.below > 0) else {
            return Ok(None);
        };
        frame.below -= 1;
        let next = self.pending.pop().map_err(doing("read the names below"))?;
        Ok(next.map(|(name, mark)| (name, Known::of(mark))))
    }

    /// Visits the directory at the end of the way, and adds its frame.
    fn visit(&mut self, known: Known) -> Result<(), ChangeError> {
        let keeps =
            known == Known::Upper && matches!(self.find, Find::Named { since: Some(_), .. });
        let touched = known == Known::Made;
        let frame = Frame { below: 0, touched, keeps, to: None, listed: None, place: None };
        self.frames.push(frame);
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

    /// Adds a directory to those that are visited later.
    fn push(&mut self, name: &CStr, known: Known) -> Result<(), Failed> {
        if self.way.len() >= DEPTH {
            let step = "go deeper than 4,096 directories, into";
            let (source, of) = (Errno::NAMETOOLONG, Of::File);
            return Err(Failed { step, source, of, part: None });
        }
        self.buffers.allowance.make()?;
        self.pending.push(name, known as u8).map_err(doing("take note of"))?;
        if let Some(frame) = self.frames.last_mut() {
            frame.below += 1;
        }
        Ok(())
    }

    /// The directory of the same path in the base or in the upper directory.
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

    /// The directory of the same path in the second tree.
    fn counterpart(&mut self) -> Result<BorrowedFd<'_>, Failed> {
        if let Some(frame) = self.frames.last_mut() {
            frame.touched = true;
        }
        self.go_to().map_err(doing("open the other tree's"))
    }

    /// Moves the second tree's cursor to the current directory. A directory that was there before must still be the same.
    fn go_to(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        if self.to.depth() < self.way.len() {
            self.to.follow(self.way.iter())?;
            let now = self.to.inode();
            if let Some(frame) = self.frames.last_mut()
                && *frame.to.get_or_insert(now) != now
            {
                self.to.up_to(self.way.len() - 1)?;
                return Err(Errno::STALE);
            }
        }
        Ok(self.to.here())
    }

    /// Takes away from the counterpart the permissions that the directory does not give.
    fn begin(&mut self) -> Result<(), Failed> {
        self.counterpart()?;
        let withdrawn = entry::begin_directory(self.from.here(), self.to.here())?;
        self.tally.changes += u64::from(withdrawn);
        Ok(())
    }

    /// Gives the directory its attributes, after all work that changes its times.
    fn finish(&mut self) -> Result<(), Failed> {
        if !self.frames.last().is_some_and(|frame| frame.touched && !frame.keeps) {
            return Ok(());
        }
        self.go_to().map_err(doing("open the other tree's"))?;
        let changed = entry::finish_directory(self.from.here(), self.to.here())?;
        self.tally.changes += u64::from(changed);
        self.refuse_layer(&Node::directory(self.from.here()).map_err(doing("open"))?)
    }

    /// Fails if names came or went in the directory while the walk was in it or below it: the walk may have missed some.
    fn is_as_listed(&mut self) -> Result<(), Failed> {
        let Some(listed) = self.frames.last().and_then(|frame| frame.listed) else { return Ok(()) };
        let now = rustix::fs::fstat(self.from.here()).map_err(doing("stat"))?;
        if changed(&now) == listed { Ok(()) } else { Err(doing("list")(Errno::STALE)) }
    }

    /// Goes up by one directory.
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

    /// Leaves out what is still to be visited in directories that are not at their places any more.
    fn leave_moved(&mut self) -> Result<(), ChangeError> {
        while self.from.depth() < self.way.len() {
            self.leave_out(doing("go back to")(Errno::STALE), None)?;
            while self.next().map_err(|failed| self.error(failed, None))?.is_some() {}
            self.leave().map_err(|failed| self.error(failed, None))?;
        }
        Ok(())
    }
}
