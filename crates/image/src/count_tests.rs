use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, symlink};

use rustix::fs::{XattrFlags, fsetxattr};

use super::super::testing::{SIZE, TestDir, alone, below_a_long_path, peak};
use super::*;

fn counted(top: &Path, size_bytes: u64) -> Result<Count, MakeError> {
    count(File::open(top).unwrap().as_fd(), size_bytes)
}

/// The count with other bounds.
fn bounded(top: &Path, bound: impl FnOnce(&mut Counter)) -> Result<Count, MakeError> {
    let mut counter = Counter::new(SIZE);
    bound(&mut counter);
    counter.run(File::open(top).unwrap().as_fd())
}

#[test]
fn usage_counts_a_file_once_and_no_hole() {
    let dir = TestDir::new();
    let empty = counted(dir.path(), SIZE).unwrap().usage;
    assert_eq!(empty, Usage { bytes: BLOCK, inodes: 1 });
    dir.write("a/b/file", &"x".repeat(5000));
    fs::hard_link(dir.path().join("a/b/file"), dir.path().join("a/again")).unwrap();
    symlink("/usr", dir.path().join("link")).unwrap();
    File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
    let usage = counted(dir.path(), SIZE).unwrap().usage;
    assert_eq!(usage.inodes, 6); // the top, a, b, file, link, hole
    assert_eq!(usage.bytes, 3 * BLOCK + 2 * BLOCK);
}

/// A block for the attributes of a file, for the target of a link, and for extents that the inode has no room for.
#[test]
fn usage_counts_what_ext4_keeps_beside_the_content() {
    let dir = TestDir::in_memory();
    let bytes = || counted(dir.path(), SIZE).unwrap().usage.bytes / BLOCK;
    symlink("x".repeat(59), dir.path().join("short")).unwrap();
    assert_eq!(bytes(), 1);
    symlink("x".repeat(60), dir.path().join("long")).unwrap();
    assert_eq!(bytes(), 2);
    let file = File::create(dir.path().join("extents")).unwrap();
    let write = |n: u64| file.write_all_at(b"x", 2 * n * BLOCK).unwrap();
    (0..4).for_each(write);
    assert_eq!(bytes(), 2 + 4);
    (4..341).for_each(write);
    assert_eq!(bytes(), 2 + 341 + 2);
    // 15 names in each of four blocks, and one in a fifth.
    (0..61).for_each(|n| drop(dir.write(&format!("d/{n:0255}"), "")));
    assert_eq!(bytes(), 2 + 341 + 2 + 5 + 1);
    drop(dir);
    // Not in a tmpfs, which may not take attributes of users.
    let dir = TestDir::new();
    let file = File::create(dir.path().join("file")).unwrap();
    fsetxattr(&file, "user.x", b"y", XattrFlags::CREATE).unwrap();
    assert_eq!(counted(dir.path(), SIZE).unwrap().usage.bytes, 2 * BLOCK);
}

#[test]
fn lost_found_is_a_directory() {
    let dir = TestDir::new();
    dir.write("a/lost+found", "");
    assert!(counted(dir.path(), SIZE).is_ok());
    dir.dir("lost+found");
    assert!(counted(dir.path(), SIZE).is_ok());
    for is_link in [true, false] {
        let _ = fs::remove_dir(dir.path().join("lost+found"));
        match is_link {
            true => symlink("a", dir.path().join("lost+found")).unwrap(),
            false => fs::write(dir.path().join("lost+found"), "").unwrap(),
        }
        let error = counted(dir.path(), SIZE).unwrap_err();
        assert!(matches!(error, MakeError::LostFound), "{error}");
        assert!(error.is_of_the_image());
        fs::remove_file(dir.path().join("lost+found")).unwrap();
    }
}

/// mke2fs needs the blocks of a base's directories, however small the engine's file system keeps them.
#[test]
fn a_directory_takes_the_blocks_of_its_names() {
    let dir = TestDir::new();
    (0..32).for_each(|n| drop(dir.write(&format!("d/{n:0255}"), "")));
    assert_eq!(counted(dir.path(), SIZE).unwrap().usage.bytes, BLOCK + 3 * BLOCK);
}

#[test]
fn more_inodes_than_a_base_can_hold_end_the_walk() {
    let dir = TestDir::new();
    (0..2000).for_each(|n| drop(dir.write(&format!("d/{n}"), "")));
    let needs = |size: &u64| Usage { bytes: 0, inodes: 2002 }.needs(*size) <= *size;
    let enough = (0..8 << 20).step_by(4096).find(needs).unwrap();
    assert_eq!(counted(dir.path(), enough).unwrap().usage.inodes, 2002);
    // A block of the table has 16 inodes.
    (0..16).for_each(|n| drop(dir.write(&format!("d/last-{n}"), "")));
    let error = counted(dir.path(), enough).unwrap_err();
    assert!(matches!(error, MakeError::TooLarge { size, needs } if size == enough && needs > size));
    assert!(error.is_of_the_image());
}

#[test]
fn names_and_files_with_several_names_have_a_bound() {
    let dir = TestDir::new();
    for n in 0..10 {
        let file = dir.write(&format!("d/{n}"), "");
        fs::hard_link(file, dir.path().join(format!("d/{n}-again"))).unwrap();
    }
    let names =
        |most| bounded(dir.path(), |counter| counter.names = NameCount::bounded(most, 1 << 20));
    assert_eq!(names(21).unwrap().usage.inodes, 12);
    let error = names(20).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image has more than 20 names: no base is made of such an image"
    );
    let linked = |most| bounded(dir.path(), |counter| counter.linked.most = most);
    assert_eq!(linked(10).unwrap().usage.inodes, 12);
    let error = linked(9).unwrap_err();
    assert!(matches!(error, MakeError::TooMany { most: 9, .. }), "{error}");
    assert!(error.is_of_the_image());
}

/// In a tmpfs, because ext4 itself has this bound.
#[test]
fn a_file_has_as_many_names_as_ext4_takes() {
    let dir = TestDir::in_memory();
    let file = dir.write("d0/file", "");
    for n in 1..65_000 {
        let (above, name) = (n / 1000, n % 1000);
        if name == 0 {
            dir.dir(&format!("d{above}"));
        }
        fs::hard_link(&file, dir.path().join(format!("d{above}/{name}"))).unwrap();
    }
    assert_eq!(counted(dir.path(), SIZE).unwrap().usage.inodes, 1 + 65 + 1);
    fs::hard_link(&file, dir.path().join("another")).unwrap();
    let error = counted(dir.path(), SIZE).unwrap_err();
    assert!(matches!(error, MakeError::TooMany { most: 65_000, .. }), "{error}");
    assert!(error.to_string().contains("more than 65000 names of one file"), "{error}");
    assert!(error.is_of_the_image());
}

#[test]
fn a_directory_has_as_many_directories_as_ext4_counts() {
    let dir = TestDir::new();
    (0..10).for_each(|n| drop(dir.dir(&format!("d/{n}"))));
    dir.write("d/file", "");
    let directories = |most| bounded(dir.path(), |counter| counter.most_in_a_directory = most);
    assert_eq!(directories(10).unwrap().usage.inodes, 13);
    let error = directories(9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image has more than 9 directories in one directory: no base is made of such an image"
    );
    assert!(error.is_of_the_image());
    assert_eq!(Counter::new(SIZE).most_in_a_directory, 64_998);
}

/// mke2fs looks through the list of files with several names for each of their names.
#[test]
fn names_of_files_with_several_names_have_a_bound_by_what_mke2fs_compares() {
    let dir = TestDir::new();
    for n in 0..4 {
        let file = dir.write(&format!("a/{n}"), "");
        (0..5).for_each(|m| fs::hard_link(&file, dir.path().join(format!("{n}-{m}"))).unwrap());
    }
    dir.write("alone", "");
    let compared = |most| bounded(dir.path(), |counter| counter.linked.most_compared = most);
    // The top comes first, in an order of its own: its names find 46 files in the list if they are in the order of the files,
    // and 70 if the first names of all files come first. Each name in `a` finds four.
    let needed = (0..=100).find(|most| compared(*most).is_ok()).unwrap();
    assert!((46 + 16..=70 + 16).contains(&needed), "{needed}");
    let error = compared(needed - 1).unwrap_err();
    assert!(matches!(error, MakeError::ManyLinks { most } if most == needed - 1), "{error}");
    assert!(error.is_of_the_image());
}

#[test]
fn large_directories_have_a_bound() {
    let dir = TestDir::new();
    (0..31).for_each(|n| drop(dir.write(&format!("d/{n:0255}"), "")));
    // `d`, and 15 names in each of two blocks and one name in a third.
    let reads = |most| bounded(dir.path(), |counter| counter.reads = DirectoryReads::bounded(most));
    let needed = 1 + 15 + 15 * 2 + 3;
    assert!(reads(needed).is_ok());
    let error = reads(needed - 1).unwrap_err();
    assert!(matches!(&error, MakeError::LargeDirectories { path, .. } if path == Path::new("d")));
    assert!(error.is_of_the_image());
}

/// As whole paths these names would take 20 MiB.
#[test]
fn many_directories_below_a_long_path_take_their_names_in_memory() {
    let name = "count::tests::many_directories_below_a_long_path_take_their_names_in_memory";
    alone(name, || {
        let dir = TestDir::new();
        below_a_long_path(dir.path(), 10_000);
        let before = peak();
        assert_eq!(counted(dir.path(), 1 << 40).unwrap().usage.inodes, 1 + 8 + 10_000);
        let taken = peak().saturating_sub(before);
        assert!(taken < 8 << 20, "{} MiB", taken >> 20);
    });
}
