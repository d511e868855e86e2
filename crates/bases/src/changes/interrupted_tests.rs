//! A write-back of a file that stops after each of its steps, by a kill or a power cut: the next start takes what is there for
//! no copy of somebody's, what is there lends nobody a right, and the next write-back makes it whole.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use tempfile::TempDir;

use super::allowance::Allowance;
use super::attributes::Attributes;
use super::content::Buffers;
use super::entry::{create, rewrite};
use super::give::{Giving, STEPS, Step};
use super::node::Node;
use super::rights::ACL;
use super::*;

pub(super) const ID: u32 = 1234;

/// `user::rw-`, `user:1234:rw-`, `group::r--`, `mask::rw-` and `other::---`.
pub(super) fn acl() -> Vec<u8> {
    acl_of(6, 4)
}

/// An ACL (linux/posix_acl_xattr.h) that gives `most` to the owner, to the user 1234 and to the mask, and nothing to others.
fn acl_of(most: u8, group: u8) -> Vec<u8> {
    let entries = [
        (1, most, u32::MAX),
        (2, most, ID),
        (4, group, u32::MAX),
        (16, most, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend([tag, 0, permissions, 0]);
        value.extend(id.to_le_bytes());
    }
    value
}

/// What is under the name before the write-back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// A file of other content, of root and with an ACL.
    Other,
    /// A file of the same content, whose attributes are others.
    Content,
}

/// Where the write-back stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// The file has its size and none of its content.
    Begun,
    /// It has its content and these of its attributes.
    After(usize),
}

/// Everything that the file is.
#[derive(Debug, PartialEq)]
struct Shown {
    content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    attribute: Vec<u8>,
    acl: Vec<u8>,
}

impl Shown {
    fn of(path: &Path) -> Self {
        let stat = fs::metadata(path).unwrap();
        let value = |name: &std::ffi::CStr| {
            let mut value = [0; 64];
            let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap_or(0);
            value[..length].to_vec()
        };
        Self {
            content: fs::read(path).unwrap(),
            mode: stat.mode() & 0o7777,
            owner: (stat.uid(), stat.gid()),
            time: (stat.mtime(), stat.mtime_nsec()),
            attribute: value(c"user.a"),
            acl: value(ACL),
        }
    }
}

/// The container's file in one directory, and what the engine has in another.
struct Trees(TempDir, Times);

impl Trees {
    fn new(before: Before, mode: u32, has_acl: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [wanted, found] = ["from/file", "to/file"].map(|name| dir.path().join(name));
        for path in [&wanted, &found] {
            fs::create_dir(path.parent().unwrap()).unwrap();
        }
        let set = |path: &Path, name: &std::ffi::CStr, value: &[u8]| {
            rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
        };
        fs::write(&wanted, "container").unwrap();
        chown(&wanted, Some(ID), Some(ID)).expect("root runs the tests");
        fs::set_permissions(&wanted, Permissions::from_mode(mode)).unwrap();
        set(&wanted, c"user.a", b"value");
        if has_acl {
            set(&wanted, ACL, &acl());
            fs::set_permissions(&wanted, Permissions::from_mode(mode)).unwrap();
        }
        if before != Before::Nothing {
            let content = if before == Before::Other { "before" } else { "container" };
            fs::write(&found, content).unwrap();
            set(&found, ACL, &acl());
        }
        let spill = || Ok(tempfile::tempfile().unwrap().into());
        let times = Times::below(File::open(dir.path().join("to")).unwrap().as_fd(), &spill);
        // A change time is as coarse as the kernel's tick.
        sleep(Duration::from_millis(20));
        Self(dir, times.unwrap().unwrap())
    }

    fn open(&self, tree: &str) -> File {
        File::open(self.0.path().join(tree)).unwrap()
    }

    fn shown(&self, tree: &str) -> Shown {
        Shown::of(&self.0.path().join(tree).join("file"))
    }

    fn write_back_until(&self, before: Before, stop: Stop) {
        let (from, to, name) = (self.open("from"), self.open("to"), c"file");
        let wanted = Node::named(from.as_fd(), name).unwrap();
        let attributes = Attributes::of(&wanted).unwrap();
        let mut buffers = Buffers::new(Allowance::NO_BOUND);
        match before {
            Before::Nothing => drop(create(to.as_fd(), name, &wanted, &mut buffers).unwrap()),
            Before::Content => {}
            Before::Other => {
                let other = Node::named(to.as_fd(), name).unwrap();
                rewrite(&other, &wanted, &mut buffers).unwrap();
            }
        }
        let made = Node::named(to.as_fd(), name).unwrap();
        let path = self.0.path().join("to/file");
        match stop {
            Stop::Begun => fs::write(path, [0; 9]).unwrap(),
            Stop::After(steps) => {
                let mut giving = Giving::new(&attributes, &made).unwrap();
                STEPS[..steps].iter().for_each(|step| giving.take(*step).unwrap());
            }
        }
    }

    /// What a start does first: it brings what is newer in the engine's tree into the container's.
    fn start(&self) {
        let (from, to) = (self.open("from"), self.open("to"));
        let since = Since { time: (0, 0), times: Some(&self.1), unsaved: true };
        let spill = || Ok(tempfile::tempfile().unwrap().into());
        let snapshot = Snapshot { tree: from.as_fd(), disk: from.as_fd() };
        let tally = bring_newer(to.as_fd(), to.as_fd(), snapshot, since, &spill).unwrap();
        assert_eq!((tally.changes, tally.unclear), (0, None));
    }

    fn write_back(&self) {
        let (from, to) = (self.open("from"), self.open("to"));
        let unchanged = Unchanged { base: &|| None, moved: &Times::default(), written: None };
        let root = EnginesRoot { merged: to.as_fd(), store: to.as_fd() };
        let spill = || Ok(tempfile::tempfile().unwrap().into());
        assert_eq!(write_back(from.as_fd(), unchanged, root, &spill).unwrap().left_out.count, 0);
    }
}

#[test]
fn a_write_back_that_stops_after_any_step_loses_nothing_and_lends_no_right() {
    assert_eq!(STEPS.last(), Some(&Step::Mode));
    let stops = [Stop::Begun].into_iter().chain((0..=STEPS.len()).map(Stop::After));
    for stop in stops {
        for before in [Before::Nothing, Before::Other, Before::Content] {
            for (mode, has_acl) in [(0o660, true), (0o4660, true), (0o1660, true), (0o4755, false)]
            {
                let case = format!("{stop:?}, {before:?}, {mode:o}, ACL: {has_acl}");
                let began =
                    !matches!((before, stop), (Before::Content, Stop::Begun | Stop::After(0)));
                if !began {
                    continue;
                }
                let trees = Trees::new(before, mode, has_acl);
                let wanted = trees.shown("from");
                trees.write_back_until(before, stop);
                let part = trees.shown("to");
                let all = matches!(stop, Stop::After(steps) if steps == STEPS.len());
                if part.mode & 0o6777 == 0 {
                    assert!(!all, "{case}");
                } else {
                    // Whoever may read it may read the whole file.
                    assert_eq!((&part.acl, part.owner), (&wanted.acl, wanted.owner), "{case}");
                    assert_eq!(part.mode & 0o777 & !mode, 0, "{case}");
                    assert_eq!(part.content, wanted.content, "{case}");
                }
                trees.start();
                assert_eq!(trees.shown("from"), wanted, "{case}");
                trees.write_back();
                assert_eq!(trees.shown("to"), wanted, "{case}");
            }
        }
    }
}

/// Before the write-back the group has no right, although the ACL's mask shows as the group bits of the mode. The container has
/// removed the ACL.
#[test]
fn what_is_no_file_and_loses_its_acl_lends_its_group_nothing_after_any_step() {
    for kind in [FileType::Directory, FileType::Fifo] {
        for steps in 0..=STEPS.len() {
            let dir = tempfile::tempdir().unwrap();
            let [wanted, found] = ["wanted", "found"].map(|name| dir.path().join(name));
            for path in [&wanted, &found] {
                match kind {
                    FileType::Directory => fs::create_dir(path).unwrap(),
                    kind => rustix::fs::mknodat(CWD, path, kind, Mode::empty(), 0).unwrap(),
                }
                fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
            }
            let before = acl_of(7, 0);
            rustix::fs::setxattr(&found, ACL, &before, XattrFlags::empty()).unwrap();
            let mode = || fs::metadata(&found).unwrap().mode() & 0o7777;
            assert_eq!(mode(), 0o770, "the mask");
            let top = File::open(dir.path()).unwrap();
            let [wanted, node] =
                [c"wanted", c"found"].map(|n| Node::named(top.as_fd(), n).unwrap());
            let wanted = Attributes::of(&wanted).unwrap();
            let mut giving = Giving::new(&wanted, &node).unwrap();
            STEPS[..steps].iter().for_each(|step| giving.take(*step).unwrap());
            let has_acl = rustix::fs::getxattr(&found, ACL, &mut [0_u8; 0][..]).is_ok();
            assert!(has_acl || mode() == 0o700, "{kind:?} after {steps} steps: {:o}", mode());
            assert!(!has_acl || steps < STEPS.len(), "{kind:?}");
        }
    }
}

/// The container has closed a directory, and has written into it afterwards.
#[test]
fn a_directory_is_closed_before_anything_is_written_into_it() {
    let (acl, none) = (acl_of(7, 5), None);
    let table = [
        (0o755, 0o700, none, 0o700),
        (0o777, 0o1777, none, 0o1777),
        (0o711, 0o755, none, 0o711),
        // The ACL goes, and the group keeps what its mask gives only if both trees give it for certain.
        (0o770, 0o750, Some(&acl), 0o700),
    ];
    for (before, wanted, acl, during) in table {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        for (path, mode) in [(&from, wanted), (&to, before)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(from.join("below")).unwrap();
        if let Some(acl) = acl {
            rustix::fs::setxattr(&to, ACL, acl, XattrFlags::empty()).unwrap();
        }
        let mode = || fs::metadata(&to).unwrap().mode() & 0o7777;
        assert_eq!(mode(), before);
        // The walk opens the base for the first directory in the top, which is then not made yet.
        let seen = std::cell::Cell::new(None);
        let base = || {
            seen.set(Some((mode(), to.join("below").exists())));
            None
        };
        let [source, root] = [&from, &to].map(|path| File::open(path).unwrap());
        let unchanged = Unchanged { base: &base, moved: &Times::default(), written: None };
        let engines = EnginesRoot { merged: root.as_fd(), store: root.as_fd() };
        let spill = || Ok(tempfile::tempfile().unwrap().into());
        write_back(source.as_fd(), unchanged, engines, &spill).unwrap();
        assert_eq!(seen.get(), Some((during, false)), "from {before:o} to {wanted:o}");
        assert_eq!(mode(), wanted);
    }
}
