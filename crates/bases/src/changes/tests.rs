//! One tree is made like another, in temporary directories: no overlay, no base.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, Mode, OFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use tempfile::TempDir;

use super::links::{Links, LookedAt};
use super::pending::Pending;
use super::*;

fn spill() -> Result<OwnedFd, rustix::io::Errno> {
    Ok(tempfile::tempfile().unwrap().into())
}

/// A temporary directory with two trees. Drop removes the directory.
struct Trees(TempDir);

impl Trees {
    fn new() -> Self {
        let trees = Self(tempfile::tempdir().unwrap());
        for tree in ["from", "to"] {
            fs::create_dir_all(trees.0.path().join(tree)).unwrap();
        }
        trees
    }

    fn from(&self) -> PathBuf {
        self.0.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.0.path().join("to")
    }

    /// Makes the second tree like the first. A second walk must find nothing to do.
    fn carry(&self) -> Tally {
        let (from, to) = (File::open(self.from()).unwrap(), File::open(self.to()).unwrap());
        let walk = || {
            let unchanged = Unchanged { base: &|| None, moved: &Times::default(), written: None };
            let root = EnginesRoot { merged: to.as_fd(), store: to.as_fd() };
            write_back(from.as_fd(), unchanged, root, &spill).unwrap_or_else(|e| panic!("{e}"))
        };
        let tally = walk();
        assert_eq!(walk().changes, 0, "of a second walk");
        tally
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        // The trees may be deeper than a recursion can go.
        let top = File::open(self.0.path()).unwrap();
        for tree in [c"from", c"to"] {
            remove::remove(top.as_fd(), tree, &mut Pending::new(&spill)).unwrap();
        }
    }
}

/// The whole tree as text, a line for each name. Names of the same file after its first name are shown as links.
fn show(top: &Path) -> Vec<String> {
    let (mut lines, mut links) = (Vec::new(), std::collections::BTreeMap::new());
    let mut below = vec![PathBuf::new()];
    while let Some(dir) = below.pop() {
        let mut names: Vec<_> = fs::read_dir(top.join(&dir))
            .unwrap()
            .map(|e| dir.join(e.unwrap().file_name()))
            .collect();
        names.sort();
        names.reverse();
        for name in names {
            let path = top.join(&name);
            let stat = fs::symlink_metadata(&path).unwrap();
            let what = if stat.is_dir() {
                below.push(name.clone());
                "directory".to_owned()
            } else if stat.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if stat.is_file() {
                format!("{:?}", fs::read(&path).unwrap())
            } else {
                "other".to_owned()
            };
            let first = match stat.is_dir() {
                true => name.clone(),
                false => links.entry(stat.ino()).or_insert(name.clone()).clone(),
            };
            let mut value = [0; 16];
            let xattr =
                rustix::fs::lgetxattr(&path, "user.a", &mut value[..]).map(|n| value[..n].to_vec());
            let (mode, time) = (stat.mode(), (stat.mtime(), stat.mtime_nsec()));
            lines.push(format!("{name:?} {what} {mode:o} {time:?} {xattr:?} as {first:?}"));
        }
    }
    lines.sort();
    lines
}

fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 987_654_321 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[derive(Debug, Clone)]
enum Make {
    Dir,
    File(Vec<u8>, Option<u8>),
    Link(String),
    Fifo,
    SecondName(String),
}

fn any_tree() -> impl Strategy<Value = Vec<(String, Make, u32, i64)>> {
    // Few names, so that the two trees have names in common.
    let name = "[ab](/[ab]){0,2}";
    let make = prop_oneof![
        3 => Just(Make::Dir),
        3 => (prop::collection::vec(0_u8..3, 0..4), prop::option::of(0_u8..3)).prop_map(|(b, x)| Make::File(b, x)),
        1 => "[abc/.]{1,4}".prop_map(Make::Link),
        1 => Just(Make::Fifo),
        3 => name.prop_map(Make::SecondName),
    ];
    prop::collection::vec((name, make, prop_oneof![Just(0o700_u32), Just(0o750)], 1_i64..4), 0..12)
}

/// Makes the files of `tree`. A file whose place is taken by another file is skipped.
fn plant(top: &Path, tree: &[(String, Make, u32, i64)]) {
    for (name, make, mode, _) in tree {
        let path = top.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let made = match make {
            Make::Dir => fs::create_dir(&path),
            Make::File(bytes, xattr) => fs::write(&path, bytes).inspect(|()| {
                if let Some(value) = xattr {
                    rustix::fs::setxattr(&path, "user.a", &[*value], XattrFlags::empty()).unwrap();
                }
            }),
            Make::Link(target) => symlink(target, &path),
            Make::Fifo => rustix::fs::mknodat(
                CWD,
                &path,
                rustix::fs::FileType::Fifo,
                Mode::from_raw_mode(0o600),
                0,
            )
            .map_err(Into::into),
            Make::SecondName(of) => match fs::symlink_metadata(top.join(of)) {
                Ok(found) if !found.is_dir() => fs::hard_link(top.join(of), &path),
                _ => continue,
            },
        };
        if made.is_ok() && !matches!(make, Make::Link(_) | Make::SecondName(_)) {
            fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
    }
    // The longest path first: making a file changes the time of its directory.
    let mut all: Vec<_> = tree.iter().collect();
    all.sort_by_key(|(name, ..)| std::cmp::Reverse(name.len()));
    for (name, _, _, time) in all {
        if fs::symlink_metadata(top.join(name)).is_ok() {
            set_time(&top.join(name), *time);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_tree_becomes_any_other(from in any_tree(), to in any_tree()) {
        let trees = Trees::new();
        plant(&trees.from(), &from);
        plant(&trees.to(), &to);
        let before = show(&trees.from());
        trees.carry();
        prop_assert_eq!(show(&trees.to()), before.clone());
        prop_assert_eq!(show(&trees.from()), before);
    }
}

#[test]
fn holes_stay_holes_and_only_what_differs_is_written() {
    let trees = Trees::new();
    let (from, to) = (trees.from().join("f"), trees.to().join("f"));
    let make = |path: &Path, at: &[(u64, &[u8])]| {
        let file = File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
        for (at, bytes) in at {
            file.write_all_at(bytes, *at).unwrap();
        }
    };
    make(&from, &[(1 << 30, b"same"), ((1 << 39) + 4095, b"new")]);
    make(&to, &[(0, b"old"), (1 << 30, b"same"), (1 << 20, &[1; 100_000])]);
    trees.carry();
    let read = |at| {
        let mut bytes = [9; 4];
        File::open(&to).unwrap().read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    assert_eq!([read(0), read(1 << 20)], [[0; 4]; 2]);
    assert_eq!(&read(1 << 30), b"same");
    assert_eq!(&read((1 << 39) + 4095), b"new\0");
    let stat = fs::metadata(&to).unwrap();
    assert_eq!(stat.len(), 1 << 40);
    assert!(stat.blocks() < 64, "{} blocks", stat.blocks());
}

/// How many bytes this thread reads meanwhile.
fn read_by(what: &dyn Fn()) -> u64 {
    let read = || -> u64 {
        let io = fs::read_to_string("/proc/thread-self/io").unwrap();
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
        read.parse().unwrap()
    };
    let before = read();
    what();
    read() - before
}

/// Space that was allocated and not written is a hole, but for pages of it that are in memory: a read nearby brings some in.
#[test]
fn space_that_was_allocated_and_not_written_is_passed() {
    const MIB: u64 = 1 << 20;
    for (written, size) in [(4096, 8192), (4096, MIB), (10 * MIB, 64 * MIB)] {
        for theirs in ["nothing", "zeros", "other"] {
            let trees = Trees::new();
            let from = File::create(trees.from().join("f")).unwrap();
            let data = vec![1; usize::try_from(written).unwrap()];
            fs::File::set_len(&from, size).unwrap();
            rustix::fs::fallocate(&from, FallocateFlags::empty(), 0, size).unwrap();
            from.write_all_at(&data, 0).unwrap();
            if theirs != "nothing" {
                let to = File::create(trees.to().join("f")).unwrap();
                to.set_len(size).unwrap();
                to.write_all_at(if theirs == "other" { b"other" } else { &[0] }, size - 5).unwrap();
            }
            from.sync_all().unwrap();
            rustix::fs::fadvise(&from, 0, None, Advice::DontNeed).unwrap();
            let (ended, end) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                trees.carry();
                ended.send(fs::read(trees.to().join("f")).unwrap()).unwrap();
            });
            let found = end.recv_timeout(Duration::from_secs(60)).expect("the walk ends");
            assert!(found.starts_with(&data) && found.len() as u64 == size, "{written} of {size}");
            assert!(found[data.len()..].iter().all(|byte| *byte == 0), "{written} of {size}");
        }
    }
}

/// Blocks with holes between them cost a container little. To read the holes would cost the host much, at every stop.
#[test]
fn holes_between_many_blocks_are_not_read() {
    const BLOCKS: u64 = 2000;
    let trees = Trees::new();
    for tree in [trees.from(), trees.to()] {
        let file = File::create(tree.join("f")).unwrap();
        for block in 0..BLOCKS {
            file.write_all_at(&[1; 4096], block << 20).unwrap();
        }
        drop(file);
        set_time(&tree.join("f"), 1);
    }
    trees.carry();
    // Two walks, each of which reads two files, and an allowance for everything else.
    let most = 2 * 2 * BLOCKS * 4096 + (1 << 20);
    let read = read_by(&|| assert_eq!(trees.carry().changes, 0));
    assert!(read < most, "{read} bytes of files that are the same");
    File::options().write(true).open(trees.to().join("f")).unwrap().write_all_at(b"x", 0).unwrap();
    let read = read_by(&|| assert_eq!(trees.carry().changes, 1));
    assert!(read < most, "{read} bytes of files of which one block differs");
}

/// The engine's overlay can have one large file under many names, and the container a file of holes for each of them.
#[test]
fn a_file_with_many_names_is_not_read_for_each_of_them() {
    const SIZE: usize = 4 << 20;
    let trees = Trees::new();
    let name = |tree: PathBuf, number: u32| tree.join(format!("f{number:02}"));
    fs::write(name(trees.to(), 0), vec![0; SIZE]).unwrap();
    for number in 0..50 {
        if number > 0 {
            fs::hard_link(name(trees.to(), 0), name(trees.to(), number)).unwrap();
        }
        let from = name(trees.from(), number);
        File::create(&from).unwrap().set_len(SIZE as u64).unwrap();
        set_time(&from, 1);
    }
    set_time(&name(trees.to(), 0), 1);
    let read = read_by(&|| drop(trees.carry()));
    assert!(read < 3 * 2 * SIZE as u64, "{read} bytes");
    assert_eq!(show(&trees.to()), show(&trees.from()));
}

/// Makes `depth` directories in one another, with a file in the last directory.
fn deep(top: &Path, depth: usize) {
    let mut here: OwnedFd = File::open(top).unwrap().into();
    for _ in 0..depth {
        rustix::fs::mkdirat(&here, "directory", Mode::from_raw_mode(0o700)).unwrap();
        here = node::directory(here.as_fd(), c"directory").unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&here, "f", flags, Mode::from_raw_mode(0o600)).unwrap();
    rustix::io::write(file, b"there").unwrap();
}

#[test]
fn a_tree_deeper_than_any_path() {
    let trees = Trees::new();
    deep(&trees.from(), 4000);
    assert!(trees.carry().changes >= 4001);
    fs::create_dir(trees.from().join("to")).unwrap();
    // The walk also removes these directories again.
    let from = File::open(trees.from()).unwrap();
    remove::remove(from.as_fd(), c"directory", &mut Pending::new(&spill)).unwrap();
    trees.carry();
    assert!(!trees.to().join("directory").exists());
}

#[test]
fn an_error_names_step_and_path_and_shortens_long_ones() {
    let names = vec![&b"n"[..]; 100];
    let path = error::path(names.into_iter());
    assert_eq!(path.components().count(), 1 + 32 + 1, "{}", path.display());
    assert!(path.to_str().unwrap().contains("/(68 more)/n/"), "{}", path.display());
    let short = error::path(vec![&b"a"[..], b"\xff"].into_iter());
    assert_eq!(short.as_os_str().as_bytes(), b"/a/\xff");
    let error = ChangeError { step: "make", path: short, source: rustix::io::Errno::NOSPC };
    assert!(error.to_string().starts_with("make /a/"), "{error}");
}

#[test]
fn what_is_deeper_than_the_bound_is_left_out_and_the_rest_is_not() {
    let trees = Trees::new();
    deep(&trees.from(), walk::DEPTH);
    assert_eq!(trees.carry().left_out.count, 0);
    fs::create_dir(trees.from().join("deeper")).unwrap();
    deep(&trees.from().join("deeper"), walk::DEPTH);
    fs::write(trees.from().join("zzz"), "").unwrap();
    let left_out = trees.carry().left_out;
    assert_eq!(left_out.count, 1);
    let said = left_out.first[0].to_string();
    assert!(
        said.starts_with("go deeper than 4,096 directories, into /deeper/directory/"),
        "{said}"
    );
    assert!(trees.to().join("zzz").exists());
}

/// Makes so many files, with two names each, in a separate directory for each name.
fn linked(trees: &Trees, files: usize) {
    for n in 0..files {
        let dir = trees.from().join(n.to_string());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a"), "").unwrap();
        fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
    }
}

fn carry_with(
    trees: &Trees,
    allowance: Allowance,
    bounds: impl FnOnce(Walk<'_>) -> Walk<'_>,
) -> Tally {
    let (from, to) = (File::open(trees.from()).unwrap(), File::open(trees.to()).unwrap());
    let (moved, store) = (&Times::default(), to.as_fd());
    let find = Find::Changed { base: &|| None, moved, written: None, store };
    let walk = Walk::new(from.as_fd(), to.as_fd(), find, &spill, allowance).unwrap();
    bounds(walk).run().unwrap().0
}

fn carry_bounded(trees: &Trees, (bound, steps): (usize, u64)) -> Tally {
    carry_with(trees, Allowance::NO_BOUND, |walk| walk.bounded(bound, steps))
}

fn carry_allowed(trees: &Trees, allowance: Allowance) -> u64 {
    let left_out = carry_with(trees, allowance, |walk| walk).left_out;
    if let Some(first) = left_out.first.first() {
        let said = format!("{first}: {}", first.source);
        assert!(said.contains("as much as a whole root can hold") && said.contains("/d"), "{said}");
    }
    left_out.count
}

/// A process that moves a file to where the walk comes next shows the walk one file many times.
#[test]
fn what_is_more_than_a_root_can_hold_is_left_out() {
    let makes = |bytes, inodes| {
        let trees = Trees::new();
        for n in 0..3 {
            let dir = trees.from().join(format!("d{n}"));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("f"), [1; 1000]).unwrap();
        }
        let left_out = carry_allowed(&trees, Allowance { bytes, inodes, ..Allowance::NO_BOUND });
        (left_out, show(&trees.from()).len() - show(&trees.to()).len())
    };
    assert_eq!(makes(3000, 12), (0, 0));
    assert_eq!(makes(2999, 12), (1, 1), "the bytes of two files");
    assert_eq!(makes(3000, 11), (1, 1), "three directories, each made and visited, and two files");
    assert_eq!(makes(3000, 4), (1 + 2, 1 + 3), "two directories, into which nothing comes");
}

/// A directory that is visited again costs a look at each of its files, also where nothing is read.
#[test]
fn looks_at_files_are_counted() {
    let trees = Trees::new();
    for name in ["d1", "d2", "d3"] {
        fs::write(trees.from().join(name), "").unwrap();
    }
    trees.carry();
    let left = |inodes| carry_allowed(&trees, Allowance { inodes, ..Allowance::NO_BOUND });
    assert_eq!([left(3), left(2)], [0, 1]);
}

#[test]
fn names_of_a_file_take_room_too() {
    let links = |bytes| {
        let trees = Trees::new();
        let dir = trees.from().join("d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a"), "").unwrap();
        for name in ["b", "c"] {
            fs::hard_link(dir.join("a"), dir.join(name)).unwrap();
        }
        carry_allowed(&trees, Allowance { bytes, ..Allowance::NO_BOUND })
    };
    assert_eq!([links(24), links(23), links(11)], [0, 1, 2]);
}

/// One of two trees can have a hole of any size under each name: then nothing is written, and all of the other's file is read.
#[test]
fn what_is_read_has_a_bound() {
    const SIZE: usize = 1 << 20;
    let reads = |ours: bool, (read, theirs)| {
        let trees = Trees::new();
        let (data, hole) =
            if ours { (trees.from(), trees.to()) } else { (trees.to(), trees.from()) };
        for name in ["d1", "d2", "d3"] {
            fs::write(data.join(name), vec![0; SIZE]).unwrap();
            File::create(hole.join(name)).unwrap().set_len(SIZE as u64).unwrap();
        }
        carry_allowed(&trees, Allowance { bytes: 0, inodes: 3, read, theirs })
    };
    let size = SIZE as u64;
    // Of the first tree also the pieces are counted.
    let left =
        |ours, bytes| if ours { reads(ours, (2 * bytes, 0)) } else { reads(ours, (0, bytes)) };
    for ours in [true, false] {
        let left = [3 * size, 3 * size - 1, 0].map(|bytes| left(ours, bytes));
        assert_eq!(left, [0, 1, 3], "{ours}");
    }
}

/// Pieces that were allocated and not written cost a container little, and each question about them the host much.
#[test]
fn pieces_that_were_not_written_are_counted() {
    const SIZE: u64 = 1 << 20;
    let trees = Trees::new();
    for tree in [trees.from(), trees.to()] {
        File::create(tree.join("d")).unwrap().set_len(SIZE).unwrap();
    }
    let from = File::options().write(true).open(trees.from().join("d")).unwrap();
    rustix::fs::fallocate(&from, FallocateFlags::empty(), 0, SIZE).unwrap();
    let left = |read| carry_allowed(&trees, Allowance { read, ..Allowance::NO_BOUND });
    assert_eq!([left(SIZE - 1), left(2 * SIZE)], [1, 0]);
}

/// A process exchanges the file of the first tree with the name that comes next, so that the walk meets it under each name.
#[test]
fn a_file_with_several_names_is_compared_once() {
    let trees = Trees::new();
    fs::write(trees.to().join("a"), "").unwrap();
    fs::hard_link(trees.to().join("a"), trees.to().join("b")).unwrap();
    let stat = rustix::fs::stat(trees.to().join("a")).unwrap();
    let mut links = Links::bounded(LookedAt::All, 9, 9);
    assert_eq!([(); 2].map(|()| links.claim(&stat)), [true, false]);
}

/// What is allowed is enough for each tree, also for one that differs everywhere.
#[test]
fn a_tree_takes_no_more_than_it_has() {
    let trees = Trees::new();
    let (files, size) = (5, 5000);
    for n in 0..files {
        for (tree, byte) in [(trees.from(), 1), (trees.to(), 2)] {
            let dir = tree.join(n.to_string());
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("f"), vec![byte; size]).unwrap();
        }
    }
    let bytes = (files * size) as u64;
    // A file is at most a block larger on the disk.
    let read = 2 * (bytes + files as u64 * (size as u64).next_multiple_of(4096));
    let allowance = Allowance { bytes, inodes: 2 * files as u64, read, theirs: bytes };
    assert_eq!(carry_with(&trees, allowance, |walk| walk).left_out.count, 0);
    assert_eq!(show(&trees.to()), show(&trees.from()));
}

#[test]
fn more_files_with_several_names_than_the_bound_are_left_out() {
    let trees = Trees::new();
    linked(&trees, 5);
    assert_eq!(carry_bounded(&trees, (5, 1000)).left_out.count, 0);
    assert_eq!(show(&trees.to()), show(&trees.from()));
    fs::remove_dir_all(trees.to()).unwrap();
    fs::create_dir(trees.to()).unwrap();
    let left_out = carry_bounded(&trees, (4, 1000)).left_out;
    assert_eq!(left_out.count, 2, "names of one of five files");
    assert!(
        left_out.first[0].to_string().starts_with("keep, beside 262,144 other"),
        "{left_out:?}"
    );
    assert_eq!(fs::read_dir(trees.to()).unwrap().count(), 5);
}

/// Files with two names each, in two of three directories far from one another. Whichever directory the walk visits last has
/// names of files from both other directories, mixed.
#[test]
fn links_that_would_take_too_many_steps_are_left_out() {
    let trees = Trees::new();
    let far = ["d"; 200].join("/");
    let dir = |side: &str| trees.from().join(side).join(&far);
    ["a", "b", "c"].iter().for_each(|side| fs::create_dir_all(dir(side)).unwrap());
    for (one, two) in [("a", "b"), ("b", "c"), ("c", "a")] {
        for n in 0..40 {
            fs::write(dir(one).join(format!("{n}{one}{two}")), "").unwrap();
            let name = dir(two).join(format!("{n}{one}{two}"));
            fs::hard_link(dir(one).join(format!("{n}{one}{two}")), name).unwrap();
        }
    }
    let left_out = carry_bounded(&trees, (1000, 10)).left_out;
    assert!((1..120).contains(&left_out.count), "{left_out:?}");
    let said = left_out.first[0].to_string();
    assert!(said.starts_with("open more directories on the way to another name of /"), "{said}");
    let tally = trees.carry();
    assert_eq!((tally.left_out.count, show(&trees.to())), (0, show(&trees.from())));
}

/// chown(2) removes a capability, also where both files have the capability.
#[test]
fn a_capability_is_as_wanted_after_a_change_of_owner() {
    // cap_net_raw=ep
    const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const NAME: &str = "security.capability";
    for (wanted, there) in [(true, true), (false, true), (true, false)] {
        let trees = Trees::new();
        for (tree, owner, has) in [(trees.from(), 1, wanted), (trees.to(), 0, there)] {
            let file = tree.join("program");
            fs::write(&file, "program").unwrap();
            std::os::unix::fs::chown(&file, Some(owner), None).expect("root runs the tests");
            if has {
                rustix::fs::setxattr(&file, NAME, CAPABILITY, XattrFlags::empty()).unwrap();
            }
        }
        assert_eq!(trees.carry().left_out.count, 0);
        let found = rustix::fs::getxattr(trees.to().join("program"), NAME, &mut [0_u8; 32][..]);
        assert_eq!(found.is_ok(), wanted, "{wanted} {there}: {found:?}");
    }
}

/// An overlay of a snapshot tells no error of the snapshot's disk.
#[test]
fn what_is_brought_into_a_snapshot_is_synced_to_its_own_disk() {
    let trees = Trees::new();
    fs::write(trees.from().join("file"), "content").unwrap();
    let (upper, tree) = (File::open(trees.from()).unwrap(), File::open(trees.to()).unwrap());
    // syncfs(2) takes no such descriptor.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let disk = rustix::fs::open(trees.to(), flags, Mode::empty()).unwrap();
    let snapshot = Snapshot { tree: tree.as_fd(), disk: disk.as_fd() };
    let bring = || bring_in(upper.as_fd(), upper.as_fd(), snapshot, &spill);
    assert_eq!(bring().unwrap_err().source, Errno::BADF);
    assert_eq!(bring().unwrap().changes, 0, "what is there already needs no sync");
}
