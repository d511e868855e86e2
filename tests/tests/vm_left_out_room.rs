//! A directory of the engine's file system takes no more names while the disk has room. A container that made such a directory
//! ends and starts as any other, and only these names stay in its snapshot.
//!
//! Guest: --no-docker --limit 900

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, XattrFlags};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{notes, nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, reboot, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Ext4, Image};

/// More than a directory of 8 KiB takes.
const LONG: usize = 60;
const SHORT: usize = 999;

/// So many names of one file in a directory, each as long as a name can be.
fn fill(dir: &Path, names: usize) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("first"), "first").unwrap();
    let dir = File::open(dir).unwrap();
    for n in 0..names {
        rustix::fs::linkat(&dir, "first", &dir, format!("{n:0255}"), AtFlags::empty()).unwrap();
    }
}

/// The same, and short names for what is left of each block.
fn stuff(dir: &Path) {
    fill(dir, LONG);
    (0..SHORT).for_each(|n| fs::write(dir.join(n.to_string()), "").unwrap());
}

fn empty(dir: &Path) {
    (0..LONG).for_each(|n| fs::remove_file(dir.join(format!("{n:0255}"))).unwrap());
    (0..SHORT).for_each(|n| fs::remove_file(dir.join(n.to_string())).unwrap());
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// ext4 with blocks of 1 KiB has two levels of an index, which end at some 20,000 long names.
#[test]
fn vm_a_full_index_of_a_directory_keeps_no_container_from_its_end() {
    const NAMES: usize = 24_000;
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &["-O", "^large_dir,dir_index"], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    fill(&top.join("many"), NAMES);
    fs::write(top.join("zzz"), "zzz").unwrap();
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["link /many/", "No space left", &snapshots()[0]]);
    assert_eq!(fs::read_to_string(engine.join("zzz")).unwrap(), "zzz");
    let some = count(&engine.join("many"));
    assert!((10_000..NAMES).contains(&some), "{some}");

    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(count(&top.join("many")), NAMES + 1);
    fs::remove_dir_all(top.join("many")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert!(!engine.join("many").exists());
}

/// Without an index the bound is an administrator's. A whiteout takes a name too, and so does the copy of an image's file.
#[test]
fn vm_what_a_full_directory_refuses_keeps_nothing_beside_it_from_the_engine() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for name in ["removed", "changed"] {
        fs::write(image.top().join("etc").join(name), "image").unwrap();
    }
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &["-O", "^dir_index"], "loop,max_dir_size_kb=8");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::create_dir(top.join("etc/below")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    let (container, top) = starts(&runtime, &bundle, &id);
    stuff(&top.join("etc"));
    let all = count(&top.join("etc"));
    container.call("delete", &["--force"]).ok();
    assert_eq!((snapshots().len(), notes()), (1, 1));
    assert!(engine.join("etc/removed").exists() && engine.join("etc/below").exists());

    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(count(&top.join("etc")), all);
    fs::remove_file(top.join("etc/removed")).unwrap();
    fs::write(top.join("etc/changed"), "changed").unwrap();
    fs::write(top.join("etc/below/file"), "below").unwrap();
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["remove /etc/removed", "No space left"]);
    assert_eq!(fs::read_to_string(engine.join("etc/below/file")).unwrap(), "below");

    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(!top.join("etc/removed").exists());
    assert_eq!(fs::read_to_string(top.join("etc/changed")).unwrap(), "changed");
    assert_eq!(fs::read_to_string(top.join("etc/below/file")).unwrap(), "below");
    empty(&top.join("etc"));
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(fs::read_to_string(engine.join("etc/changed")).unwrap(), "changed");
    assert!(!engine.join("etc/removed").exists());
}

/// The top itself is full: nothing there can say that the overlay lacks files, and the container ends all the same.
#[test]
fn vm_a_full_top_keeps_no_container_from_its_end() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &["-O", "^dir_index"], "loop,max_dir_size_kb=8");
    for _ in 0..2 {
        let (container, top) = starts(&runtime, &bundle, &id);
        if !top.join("first").exists() {
            stuff(&top);
        }
        let said = container.call("delete", &["--force"]);
        assert_eq!(said.status, 0, "{said}");
        has(&said.stderr, &["No space left", "nothing there says so", &snapshots()[0]]);
    }
    let (container, top) = starts(&runtime, &bundle, &id);
    empty(&top);
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// An attribute takes none of the room that the file's content took.
#[test]
fn vm_an_attribute_that_does_not_fit_on_a_large_file_keeps_no_container_from_its_end() {
    const SIZE: usize = 22 << 20;
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    // Its blocks are smaller than the attribute.
    let _store = Ext4::below(&bundle, &[], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("large"), vec![4; SIZE]).unwrap();
    rustix::fs::setxattr(top.join("large"), "user.large", &[b'x'; 3000], XattrFlags::empty())
        .unwrap();
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["set the attributes of /large", "No space left", &snapshots()[0]]);
    assert_eq!(fs::metadata(engine.join("large")).unwrap().len(), SIZE as u64);

    let (container, top) = starts(&runtime, &bundle, &id);
    let mut value = [0_u8; 4000];
    assert_eq!(rustix::fs::getxattr(top.join("large"), "user.large", &mut value[..]), Ok(3000));
    fs::remove_file(top.join("large")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert!(!engine.join("large").exists());
}

/// More than a file of ext4 with blocks of 1 KiB can have, and less than one with blocks of 4 KiB.
const HUGE: u64 = 5 << 40;

/// A file of the image that becomes larger than the engine's file system takes stays there as it was, with a mode for people, and
/// is known to be no copy of somebody's: also where the write-back fails afterwards, and is begun anew by a start.
#[test]
fn vm_a_file_that_is_left_out_keeps_its_mode_and_is_no_copy() {
    // The container's mode, and the one that the engine's part of it gets.
    const FILES: [(&str, u32, u32); 2] = [("plain", 0o644, 0o644), ("program", 0o4755, 0o755)];
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let file = |top: &Path, name: &str, mode, size| {
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(top.join(name))
            .unwrap()
            .set_len(size)
            .unwrap();
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let is = |top: &Path, name: &str, mode, size| {
        let found = fs::metadata(top.join(name)).unwrap();
        assert_eq!((found.len(), found.mode() & 0o7777), (size, mode), "{name}");
    };
    FILES.iter().for_each(|(name, mode, _)| file(&image.top(), name, *mode, 5));
    file(&image.top(), "copied", 0o644, 5);
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let store = Ext4::below(&bundle, &[], "loop");
    let (engine, ballast) = (Path::new(&bundle.rootfs), Path::new(&store.0).join("ballast"));
    let (container, top) = starts(&runtime, &bundle, &id);
    FILES.iter().for_each(|(name, mode, _)| file(&top, name, *mode, HUGE));
    file(&top, "copied", 0o644, HUGE);
    // Directories come after the files beside them.
    fs::create_dir(top.join("below")).unwrap();
    fs::write(top.join("below/large"), vec![2; 40 << 20]).unwrap();
    fs::write(&ballast, vec![1; 30 << 20]).unwrap();
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &["below/large", "No space left"]);
    fs::remove_file(&ballast).unwrap();
    // Somebody writes into one of the parts. The record is gone, and the next start begins the write-back anew.
    fs::write(engine.join("copied"), "copied over").unwrap();
    std::mem::forget(container);
    let _ = fs::remove_dir_all(Path::new(runtime.root()).join(&id));
    reboot();
    let is_whole = |top: &Path| {
        FILES.iter().for_each(|(name, mode, _)| is(top, name, *mode, HUGE));
        is(top, "below/large", 0o644, 40 << 20);
        assert_eq!(fs::read_to_string(top.join("copied")).unwrap(), "copied over");
    };
    let (container, top) = starts(&runtime, &bundle, &id);
    is_whole(&top);
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["2 files", "write /", "File too large", &snapshots()[0]]);
    FILES.iter().for_each(|(name, _, mode)| is(engine, name, *mode, 5));

    let (container, top) = starts(&runtime, &bundle, &id);
    is_whole(&top);
    FILES.iter().for_each(|(name, mode, _)| file(&top, name, *mode, 7));
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    for (name, mode, _) in FILES {
        is(engine, name, mode, 7);
        let path = format!("{}/{name}", bundle.upper);
        assert_eq!(out(&["getfattr", "--absolute-names", "-m", "trusted.sharedroot", &path]), "");
    }
}

/// A disk that is full is no directory that is full: what is written there is written again when it has room.
#[test]
fn vm_a_full_disk_still_keeps_everything_for_the_next_time() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let store = Ext4::below(&bundle, &["-N", "400"], "loop");
    let (engine, ballast) = (Path::new(&bundle.rootfs), Path::new(&store.0).join("ballast"));
    // Without blocks for one file, and without inodes.
    for (name, files, bytes) in [("large", 1, 40 << 20), ("inodes", 30, 1)] {
        let (container, top) = starts(&runtime, &bundle, &id);
        fs::create_dir(&ballast).unwrap();
        match files {
            1 => fs::write(ballast.join("large"), vec![1; 30 << 20]).unwrap(),
            _ => {
                let made = |n: &i32| File::create(ballast.join(n.to_string())).is_ok();
                assert!((0..).take_while(made).count() > 300);
            }
        }
        fs::create_dir(top.join(name)).unwrap();
        for n in 0..files {
            fs::write(top.join(name).join(n.to_string()), vec![2; bytes]).unwrap();
        }
        let said = container.call("delete", &["--force"]);
        assert_ne!(said.status, 0, "{said}");
        has(&said.stderr, &[name, "No space left", "writes them again"]);
        fs::remove_dir_all(&ballast).unwrap();
        container.call("delete", &["--force"]).ok();
        nothing_is_kept();
        assert_eq!(count(&engine.join(name)), files);
        fs::remove_dir_all(engine.join(name)).unwrap();
    }
}
