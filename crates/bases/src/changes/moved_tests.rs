//! Another process moves directories of one of the trees while the walk is in them: it has a descriptor of the container's root, as
//! a container of the same pod can have. Here the process is the opening of the file for waiting names, at a known moment.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::TempDir;

use super::allowance::Allowance;
use super::cursor::{AGAIN, Cursor};
use super::frame::Find;
use super::pending::Pending;
use super::remove::remove;
use super::walk::Walk;
use super::*;

/// So many directories of root's that some come after the accomplice's, in whatever order names are listed.
const ROOTS: usize = 24;
/// More names than [`PIECE`] takes twice; all names above take less.
const MANY: usize = 400;
const PIECE: usize = 1 << 10;

fn file_of(root: usize) -> String {
    format!("d{root}/file")
}

/// Root's directories, and in `/tmp/u` the accomplice's.
fn plant(top: &Path) {
    for root in 0..ROOTS {
        fs::create_dir_all(top.join(format!("d{root}"))).unwrap();
        fs::write(top.join(file_of(root)), "root's").unwrap();
        fs::create_dir_all(top.join(format!("tmp/u/s/d{root}"))).unwrap();
        fs::write(top.join("tmp/u/s").join(file_of(root)), "the accomplice's").unwrap();
    }
    fs::create_dir_all(top.join("tmp/u/s/e")).unwrap();
    (0..MANY).for_each(|n| fs::create_dir_all(top.join(format!("tmp/u/c/n{n:03}"))).unwrap());
}

/// A directory `c` among others: whatever the order of names is, it is not the last.
fn plant_among(dir: &Path) {
    let others = |numbers: std::ops::Range<usize>| {
        numbers.for_each(|n| fs::create_dir_all(dir.join(format!("x{n}"))).unwrap());
    };
    others(0..ROOTS / 2);
    (0..MANY).for_each(|n| fs::create_dir_all(dir.join(format!("c/n{n:03}"))).unwrap());
    others(ROOTS / 2..ROOTS);
}

fn are_roots(top: &Path) {
    for root in 0..ROOTS {
        let path = file_of(root);
        assert_eq!(fs::read_to_string(top.join(&path)).unwrap(), "root's", "{path}");
    }
    assert!(!top.join("s").exists() && !top.join("n000").exists(), "{}", top.display());
}

/// What leads `..` from `c` to `/tmp/u` where the walk takes it for the top.
fn move_down(top: &Path) {
    let u = top.join("tmp/u");
    fs::rename(u.join("s"), u.join("d")).unwrap();
    fs::rename(u.join("c"), u.join("d/e/c")).unwrap();
    for root in 0..ROOTS {
        fs::rename(u.join(format!("d/d{root}")), u.join(format!("d{root}"))).unwrap();
    }
}

/// What leads `..` from `c` to the top where the walk takes it for `/tmp/u`.
fn move_up(top: &Path) {
    fs::rename(top.join("tmp/u/c"), top.join("c")).unwrap();
}

fn swap_a_name(top: &Path) {
    let u = top.join("tmp/u");
    fs::rename(u.join("s"), u.join("hidden")).unwrap();
}

fn carry(from: &Path, to: &Path, moves: &dyn Fn()) -> Tally {
    let moved = Cell::new(false);
    let spill = || -> Result<OwnedFd, Errno> {
        if !moved.replace(true) {
            moves();
        }
        Ok(tempfile::tempfile().unwrap().into())
    };
    let (from, to) = (File::open(from).unwrap(), File::open(to).unwrap());
    let (times, store) = (&Times::default(), to.as_fd());
    let find = Find::Changed { base: &|| None, moved: times, written: None, store };
    let walk = Walk::new(from.as_fd(), to.as_fd(), find, &spill, Allowance::NO_BOUND).unwrap();
    let tally = walk.with_piece(PIECE).run().unwrap().0;
    assert!(moved.get(), "the moment has come");
    tally
}

#[test]
fn what_is_moved_in_either_tree_leads_the_walk_nowhere_else() {
    for moves in [move_down, move_up] {
        for tree in ["from", "to"] {
            let dir = TempDir::new().unwrap();
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            plant(&from);
            // In the second tree root's files have other content, and the accomplice's directories exist already.
            plant(&to);
            (0..ROOTS).for_each(|root| fs::write(to.join(file_of(root)), "old").unwrap());
            let tally = carry(&from, &to, &|| moves(&dir.path().join(tree)));
            are_roots(&to);
            assert!(tree == "to" || tally.left_out.count > 0, "{tree}: {:?}", tally.left_out);
        }
    }
}

#[test]
fn what_is_below_a_directory_that_was_moved_away_is_left_out() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let u = from.join("tmp/u");
    plant_among(&u.join("w"));
    (0..ROOTS).for_each(|n| fs::create_dir_all(u.join(format!("x{n}/not below w"))).unwrap());
    fs::create_dir(&to).unwrap();
    let tally = carry(&from, &to, &|| {
        fs::rename(u.join("w/c"), u.join("c")).unwrap();
        fs::rename(u.join("w"), u.join("moved")).unwrap();
    });
    for n in 0..ROOTS {
        assert!(!to.join(format!("tmp/u/w/x{n}/not below w")).exists(), "{n}");
    }
    assert!(tally.left_out.first.iter().any(|left| left.path == Path::new("/tmp/u/w")));
}

/// Then the snapshot stays the truth.
#[test]
fn a_name_that_came_or_went_meanwhile_is_told() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    plant(&from);
    fs::create_dir(&to).unwrap();
    let tally = carry(&from, &to, &|| swap_a_name(&from));
    are_roots(&to);
    assert!(tally.left_out.first.iter().any(|left| left.path == Path::new("/tmp/u")));
}

#[test]
fn what_is_moved_while_it_is_removed_takes_nothing_else_away() {
    for moves_parent in [false, true] {
        let dir = TempDir::new().unwrap();
        let top = dir.path();
        plant_among(&top.join("w"));
        (0..ROOTS).for_each(|n| fs::create_dir_all(top.join(format!("x{n}/kept"))).unwrap());
        let spill = || -> Result<OwnedFd, Errno> {
            fs::rename(top.join("w/c"), top.join("c")).unwrap();
            if moves_parent {
                fs::rename(top.join("w"), top.join("moved")).unwrap();
            }
            Ok(tempfile::tempfile().unwrap().into())
        };
        let opened = File::open(top).unwrap();
        let mut pending = Pending::with_piece(&spill, PIECE);
        remove(opened.as_fd(), c"w", &mut pending).unwrap_err();
        (0..ROOTS).for_each(|n| assert!(top.join(format!("x{n}/kept")).exists(), "{n}"));
    }
}

#[test]
fn no_name_becomes_a_link_of_what_took_the_place_of_the_first() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    plant(&from);
    fs::create_dir(&to).unwrap();
    let first = |top: &Path, root: usize| top.join(format!("tmp/u/first{root}"));
    (0..ROOTS)
        .for_each(|root| fs::hard_link(from.join(file_of(root)), first(&from, root)).unwrap());
    carry(&from, &to, &|| {
        for root in 0..ROOTS {
            fs::remove_file(first(&to, root)).unwrap();
            fs::write(first(&to, root), "the accomplice's").unwrap();
        }
    });
    for root in 0..ROOTS {
        let text = fs::read_to_string(to.join(file_of(root))).unwrap_or_default();
        assert_ne!(text, "the accomplice's", "{root}");
    }
}

/// Somebody has opened the file of the kept snapshot, when it was readable for him.
#[test]
fn a_newer_file_is_not_written_into_the_older_one() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (tree, text) in [(&from, "secret"), (&to, "public")] {
        fs::create_dir(tree).unwrap();
        fs::write(tree.join("file"), text).unwrap();
    }
    let mut opened = File::open(to.join("file")).unwrap();
    let (upper, tree) = (File::open(&from).unwrap(), File::open(&to).unwrap());
    let snapshot = Snapshot { tree: tree.as_fd(), disk: tree.as_fd() };
    let since = Since { time: (0, 0), times: None, unsaved: false };
    let spill = || Ok(tempfile::tempfile().unwrap().into());
    bring_newer(upper.as_fd(), upper.as_fd(), snapshot, since, &spill).unwrap();
    let mut text = String::new();
    opened.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), &*fs::read(to.join("file")).unwrap()), ("public", &b"secret"[..]));
}

/// Each time costs as many directories as the cursor is deep.
#[test]
fn a_way_is_not_opened_again_for_ever() {
    let dir = TempDir::new().unwrap();
    let top = File::open(dir.path()).unwrap();
    let names: Vec<_> = (0..64).map(|n| CString::new(format!("n{n}")).unwrap()).collect();
    let path: PathBuf = names.iter().map(|name| name.to_str().unwrap()).collect();
    fs::create_dir_all(dir.path().join(&path)).unwrap();
    let mut cursor = Cursor::at_top(top.as_fd()).unwrap();
    let mut times = 0;
    while cursor.follow(names.iter()).is_ok() {
        let (last, away) = (dir.path().join(&path), dir.path().join("away"));
        fs::rename(&last, &away).unwrap();
        cursor.up_to(names.len() - 1).unwrap();
        fs::rename(&away, &last).unwrap();
        times += 1;
    }
    assert_eq!((cursor.depth(), times), (0, AGAIN / (names.len() - 1) + 1));
}
