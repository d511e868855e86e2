//! How far a path through an image is resolved, name by name. Nothing here looks at the image: the caller reads the links.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The kernel's bound for symbolic links.
pub(super) const MOST_LINKS: usize = 40;

/// How many bytes the names that are still to be followed may have, with a `/` for each: PATH_MAX. 40 links, each of which leads on
/// through the next in its first name, would have 82,000 names, which no system call takes.
pub(super) const MOST_REST: usize = 4096;

/// How far a path is resolved.
pub(super) struct Way {
    /// The absolute path so far, without links.
    pub(super) at: PathBuf,
    /// How many names this path has.
    pub(super) names: usize,
    /// The depth from which on nothing exists.
    missing: Option<usize>,
    /// The names that are still to be followed, the next one last.
    pub(super) rest: Vec<OsString>,
    /// How many bytes these names have, with a `/` for each.
    pub(super) bytes: usize,
    /// How many links were followed.
    pub(super) links: usize,
}

impl Way {
    pub(super) fn of(path: &Path) -> Self {
        let at = PathBuf::from("/");
        let mut way = Self { at, names: 0, missing: None, rest: Vec::new(), bytes: 0, links: 0 };
        way.follow_first(path);
        way
    }

    fn follow_first(&mut self, path: &Path) {
        let names = path.components().rev().map(|part| part.as_os_str().to_owned());
        for name in names {
            self.bytes += name.len() + 1;
            self.rest.push(name);
        }
    }

    pub(super) fn up(&mut self) {
        if self.at.pop() {
            self.names -= 1;
        }
        self.missing = self.missing.filter(|depth| *depth <= self.names);
    }

    /// Whether no further link is followed: nothing exists here, or there were too many links. The kernel would follow those that
    /// are left on the way, each time.
    pub(super) fn has_ended(&self) -> bool {
        self.missing.is_some() || self.links >= MOST_LINKS
    }

    /// Goes to `name`, or to where the link of that name leads, which `look` reads.
    pub(super) fn down(
        &mut self,
        name: &OsString,
        look: impl FnOnce(&Path) -> Result<Option<PathBuf>, Errno>,
    ) {
        self.at.push(name);
        self.names += 1;
        match look(&self.at) {
            Ok(Some(target)) => {
                self.links += 1;
                self.up();
                if target.is_absolute() {
                    (self.at, self.names) = (PathBuf::from("/"), 0);
                }
                self.follow_first(&target);
            }
            Ok(None) => {}
            Err(_) => self.missing = Some(self.names),
        }
    }
}
