//! Files with several names. The walk makes a file at its first name; at each other name it makes a link to the first.
//!
//! A name takes no memory here, because a container makes a name by one system call. What takes memory has a bound: a file and
//! a directory, each of which costs the container an inode.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::attributes::is_finished;
use super::cursor::Cursor;
use super::error::{Failed, Of, doing};
use super::node::{Inode, inode, kind, look};
use super::pending::Pending;
use super::remove::remove;

/// How many files with several names a walk keeps in memory, and how many directories of such names. With names of 255 bytes,
/// both together take 160 MiB; with usual names, a fifth of that.
pub(super) const KEPT: usize = 1 << 18;

/// How many directories a walk may open on the way to first names, for each link on average. A container can make each link far
/// from the first name, with a thousand directories between them.
const STEPS: u64 = 64;
/// How many more directories a walk may open in total.
const MORE_STEPS: u64 = 1 << 20;

/// What is known of a file with several names.
#[derive(Debug)]
struct File {
    place: usize,
    /// The first name of the file.
    name: Box<CStr>,
    /// Whether another name was a link to the first name already.
    had_link: bool,
}

/// Which names of a file with several names the walk looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookedAt {
    /// Every name of a file that has changed.
    All,
    /// Not every name. So a file with several names in the second tree can stand for none of the first.
    Some,
}

/// A name, in the directory that has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameIn<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
}

#[derive(Debug)]
pub(super) struct Links {
    looked_at: LookedAt,
    bound: usize,
    /// The files by their inode in the first tree.
    files: HashMap<Inode, File>,
    /// Inodes of the second tree with several names that were compared with a file of the first tree.
    claims: HashSet<Inode>,
    /// Directories that hold such names, each as the number of its parent and its own name. A whole path for each would take
    /// more memory.
    places: Vec<(usize, Box<CStr>)>,
    /// The directory of the last first name in the second tree, and the places on the way to this directory.
    there: Option<(Vec<usize>, Cursor)>,
    /// How many more directories may be opened.
    steps: u64,
}

/// The result for a name that is to be a link.
pub(super) enum Linked {
    /// The walk made the link.
    Made {
        /// Another name was a link to the first name already.
        after_another: bool,
    },
    /// The name was a link to the first name already.
    WasOne,
    /// The first name does not exist. Why it does not was already reported.
    NoFirst,
}

impl Links {
    /// The number of the top among the places.
    pub(super) const TOP: usize = 0;

    /// None yet.
    pub(super) fn new(looked_at: LookedAt) -> Self {
        Self::bounded(looked_at, KEPT, MORE_STEPS)
    }

    pub(super) fn bounded(looked_at: LookedAt, bound: usize, steps: u64) -> Self {
        let (files, claims, places) = (HashMap::new(), HashSet::new(), Vec::new());
        Self { looked_at, bound, files, claims, places, there: None, steps }
    }

    /// The number of the directory `name` in the directory `above`.
    pub(super) fn add_place(&mut self, above: usize, name: &CStr) -> Result<usize, Failed> {
        if self.places.len() >= self.bound {
            return Err(too_many("keep, beside 262,144 other directories with links, that of"));
        }
        self.places.push((above, name.into()));
        Ok(self.places.len())
    }

    /// Records a name of a file with several names. Returns whether the name is the first.
    pub(super) fn is_first(
        &mut self,
        file: &Stat,
        place: usize,
        name: &CStr,
    ) -> Result<bool, Failed> {
        let full = self.files.len() >= self.bound;
        match self.files.entry(inode(file)) {
            Entry::Vacant(_) if full => {
                Err(too_many("keep, beside 262,144 other files with several names, that of"))
            }
            Entry::Vacant(new) => {
                new.insert(File { place, name: name.into(), had_link: false });
                Ok(true)
            }
            // A directory may list a name twice while it changes.
            Entry::Occupied(known) => Ok((known.get().place, &*known.get().name) == (place, name)),
        }
    }

    /// Whether the inode `to`, which has several names, may stand for a file of the first tree: it was not compared with any yet.
    /// Beyond the bound it may not, and is replaced.
    pub(super) fn claim(&mut self, to: &Stat) -> bool {
        let full = self.claims.len() >= self.bound;
        self.looked_at == LookedAt::All && !full && self.claims.insert(inode(to))
    }

    /// Makes the name a link to the first name of `file`. The name is in the second tree, whose top is `to`.
    pub(super) fn link(
        &mut self,
        file: &Stat,
        to: BorrowedFd<'_>,
        NameIn { dir: here, name }: NameIn<'_>,
        pending: &mut Pending<'_>,
    ) -> Result<Linked, Failed> {
        let Some(known) = self.files.get(&inode(file)) else { return Ok(Linked::NoFirst) };
        let place = known.place;
        self.go_to(place, to)?;
        let (Some((_, there)), Some(known)) = (&self.there, self.files.get_mut(&inode(file)))
        else {
            return Ok(Linked::NoFirst);
        };
        let stat = |dir, name| look(dir, name).map_err(doing("stat"));
        let Some(target) = stat(there.here(), &known.name)? else { return Ok(Linked::NoFirst) };
        // Another process may have put another file in the place of the first name.
        if kind(&target) != kind(file)
            || kind(file) == FileType::RegularFile && !is_finished(file, &target)
        {
            return Err(doing("link")(Errno::STALE));
        }
        if let Some(old) = stat(here, name)? {
            if inode(&old) == inode(&target) {
                known.had_link = true;
                return Ok(Linked::WasOne);
            }
            remove(here, name, pending).map_err(doing("replace"))?;
        }
        let linked = rustix::fs::linkat(there.here(), &*known.name, here, name, AtFlags::empty());
        linked.map_err(doing("link"))?;
        Ok(Linked::Made { after_another: known.had_link })
    }

    /// Moves the cursor to a place in the second tree: up to the common directory, then down.
    fn go_to(&mut self, place: usize, to: BorrowedFd<'_>) -> Result<(), Failed> {
        self.steps += STEPS;
        if self.there.as_ref().is_some_and(|(way, _)| way.last().copied().unwrap_or(0) == place) {
            return Ok(());
        }
        let way = self.way(place);
        let (before, mut cursor) = match self.there.take() {
            Some(there) => there,
            None => (Vec::new(), Cursor::at_top(to).map_err(doing("open the top of"))?),
        };
        let common = before.iter().zip(&way).take_while(|(a, b)| a == b).count();
        let steps = (before.len() - common + way.len()) as u64;
        // At a start, everything or nothing is brought in, so the walk has no bound: only the container itself waits for it.
        match self.steps.checked_sub(steps) {
            Some(rest) => self.steps = rest,
            None if self.looked_at == LookedAt::All => {
                return Err(too_many("open more directories on the way to another name of"));
            }
            None => {}
        }
        let open = doing("open the directory of another name of");
        let moved = cursor.up_to(common).and_then(|()| {
            if cursor.depth() < common {
                return Err(Errno::STALE);
            }
            let names = way.iter().skip(common).filter_map(|place| self.places.get(place - 1));
            names.map(|(_, name)| name).try_for_each(|name| cursor.down(name))
        });
        moved.map_err(open)?;
        self.there = Some((way, cursor));
        Ok(())
    }

    /// The places on the way from the top to a place.
    fn way(&self, mut place: usize) -> Vec<usize> {
        let mut way = Vec::new();
        while let Some((above, _)) = place.checked_sub(1).and_then(|at| self.places.get(at)) {
            way.push(place);
            place = *above;
        }
        way.reverse();
        way
    }
}

fn too_many(step: &'static str) -> Failed {
    Failed { step, source: Errno::NOBUFS, of: Of::File, part: None }
}
