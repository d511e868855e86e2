//! Files with several names: the first is made, the others become links of it when all is there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Stat};

use super::cursor::Cursor;
use super::entry::finish_directory;
use super::error::{ChangeError, Failed, LeftOut, doing, path};
use super::node::look;
use super::remove::remove;

/// A name in a directory.
type Name = (usize, CString);

/// The names of one file.
#[derive(Debug)]
struct Group {
    first: Name,
    others: Vec<Name>,
}

#[derive(Debug)]
pub(super) struct Links {
    /// Every name of a file is looked at. Otherwise one with several names in the second tree, not all of which are looked
    /// at, can stand for none of the first.
    all: bool,
    /// By the inode of the first tree.
    groups: HashMap<u64, Group>,
    /// Which inode of the first tree one of the second tree with several names stands for.
    claims: HashMap<(u64, u64), u64>,
    /// Directories that hold such names: the one above, and the name. A path would cost its length each.
    places: Vec<(usize, CString)>,
}

/// Making a link copies an image's file up, and its other names are then no links of it any more: a
/// second round finds those.
const ROUNDS: usize = 2;

impl Links {
    /// The place that is the top.
    pub(super) const TOP: usize = 0;

    /// None yet; `all` if the walk looks at every name of a file that has changed.
    pub(super) fn new(all: bool) -> Self {
        Self { all, groups: HashMap::new(), claims: HashMap::new(), places: Vec::new() }
    }

    /// The number of the directory `name` in the directory `above`.
    pub(super) fn add_place(&mut self, above: usize, name: &CStr) -> usize {
        self.places.push((above, name.to_owned()));
        self.places.len()
    }

    /// Takes note of a name of a file with several names; true if it is the first of them.
    pub(super) fn is_first(&mut self, inode: u64, place: usize, name: &CStr) -> bool {
        let name = (place, name.to_owned());
        match self.groups.entry(inode) {
            Entry::Vacant(group) => {
                group.insert(Group { first: name, others: Vec::new() });
                true
            }
            Entry::Occupied(mut group) => {
                group.get_mut().others.push(name);
                false
            }
        }
    }

    /// Whether the inode `to` may stand for `from`: no other one has it already.
    pub(super) fn claim(&mut self, to: &Stat, from: &Stat) -> bool {
        self.all && *self.claims.entry((to.st_dev, to.st_ino)).or_insert(from.st_ino) == from.st_ino
    }

    /// Makes the links; returns how many. Those that the second tree cannot take go into `left_out`, where there is one.
    pub(super) fn make(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        mut left_out: Option<&mut LeftOut>,
    ) -> Result<u64, ChangeError> {
        let mut made = 0;
        for group in self.groups.values() {
            for round in 1..=ROUNDS {
                for name in &group.others {
                    match self.link(from, to, &group.first, name) {
                        Ok(linked) => made += u64::from(linked),
                        Err(failed) => match &mut left_out {
                            // The last round tells what is left.
                            Some(left) if failed.of_one_file && round == ROUNDS => {
                                left.add(self.error(failed, name));
                            }
                            Some(_) if failed.of_one_file => {}
                            _ => return Err(self.error(failed, name)),
                        },
                    }
                }
            }
        }
        Ok(made)
    }

    fn link(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        first: &Name,
        name: &Name,
    ) -> Result<bool, Failed> {
        let open = |top, place| {
            let way = self.way(place);
            let mut cursor = Cursor::at_top(top)?;
            cursor.follow(way.iter())?;
            Ok(cursor)
        };
        let there = open(to, first.0).map_err(doing("open the directory of another name of"))?;
        let here = open(to, name.0).map_err(doing("open the directory of"))?;
        let found = |dir: &Cursor, name| look(dir.here(), name).map_err(doing("stat"));
        let Some(target) = found(&there, &first.1)? else { return Ok(false) };
        if let Some(old) = found(&here, &name.1)? {
            if (old.st_dev, old.st_ino) == (target.st_dev, target.st_ino) {
                return Ok(false);
            }
            remove(here.here(), &name.1).map_err(doing("replace"))?;
        }
        let linked =
            rustix::fs::linkat(there.here(), &first.1, here.here(), &name.1, AtFlags::empty());
        linked.map_err(doing("link"))?;
        let source = open(from, name.0).map_err(doing("open the directory of"))?;
        finish_directory(source.here().as_fd(), here.here())?;
        Ok(true)
    }

    fn way(&self, mut place: usize) -> Vec<CString> {
        let mut way = Vec::new();
        while let Some((above, name)) = place.checked_sub(1).and_then(|at| self.places.get(at)) {
            way.push(name.clone());
            place = *above;
        }
        way.reverse();
        way
    }

    fn error(&self, failed: Failed, (place, name): &Name) -> ChangeError {
        let way = self.way(*place);
        let names: Vec<_> = way.iter().chain([name]).map(|name| name.as_bytes()).collect();
        ChangeError { step: failed.step, path: path(names.into_iter()), source: failed.source }
    }
}
