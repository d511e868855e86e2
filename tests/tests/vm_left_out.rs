//! What an overlay cannot hold is not lost in silence, and keeps no container from its end or its next start: the snapshot
//! is the container's root then, too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use serde_json::json;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{host_ends, notes, nothing_is_kept, noticed, snapshots, starts};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Ext4, Image};

/// Every attribute that ext4 has room for, as an unprivileged process can give to a directory of its own. Returns how many.
fn fill(dir: &Path) -> usize {
    let value = [b'x'; 4096];
    let takes = |name: &str, length| {
        rustix::fs::setxattr(dir, name, &value[..length], XattrFlags::CREATE).is_ok()
    };
    let lengths = || (0..4000).rev().step_by(4);
    (0..64).take_while(|n| lengths().any(|length| takes(&format!("user.{n}"), length))).count()
}

fn attributes(path: &Path) -> usize {
    let names = out(&["getfattr", "--absolute-names", "-h", "-m", "-", path.to_str().unwrap()]);
    names.lines().filter(|line| line.starts_with("user.") || line.starts_with("trusted.")).count()
}

/// A whiteout and an opaque directory of an inner overlay, attributes that do not fit, and ordinary files beside them.
fn plant(top: &Path) {
    fs::create_dir_all(top.join("inner/opaque")).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, top.join("inner/gone"), FileType::CharacterDevice, mode, 0).unwrap();
    let opaque = top.join("inner/opaque");
    rustix::fs::setxattr(&opaque, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    fs::create_dir(top.join("filled")).unwrap();
    assert!(fill(&top.join("filled")) > 0);
    for file in ["inner/kept", "inner/opaque/kept", "filled/kept", "kept", "zzz"] {
        fs::write(top.join(file), file).unwrap();
    }
}

#[track_caller]
fn is_whole(top: &Path) {
    let gone = fs::symlink_metadata(top.join("inner/gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    assert_eq!(attributes(&top.join("inner/opaque")), 1);
    assert!(attributes(&top.join("filled")) > 0);
    the_rest(top);
}

#[track_caller]
fn the_rest(top: &Path) {
    for file in ["inner/kept", "inner/opaque/kept", "filled/kept", "kept", "zzz"] {
        assert_eq!(fs::read_to_string(top.join(file)).unwrap(), file);
    }
}

#[test]
fn vm_what_an_overlay_cannot_hold_is_there_at_the_next_start() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &[], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    plant(&top);
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    let volume = snapshots().pop().expect("the snapshot stays");
    has(&said.stderr, &["3 files", &id, "/inner/gone", "/filled", &volume, "pool drop"]);
    assert_eq!((snapshots().len(), notes()), (1, 1));
    the_rest(engine);

    // Its engine writes into the stopped container: `docker cp`.
    fs::write(engine.join("kept"), "copied over").unwrap();
    fs::create_dir_all(engine.join("copied/in")).unwrap();
    fs::write(engine.join("copied/in/file"), "").unwrap();
    fs::write(engine.join("inner/copied"), "").unwrap();
    fs::remove_file(engine.join("etc/unique")).unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("kept")).unwrap(), "copied over");
    assert!(top.join("copied/in/file").exists() && top.join("inner/copied").exists());
    assert!(!top.join("etc/unique").exists());
    fs::write(top.join("kept"), "kept").unwrap();
    is_whole(&top);

    // The host ends: the snapshot is newer than what was written back.
    fs::write(top.join("zzz"), "newer").unwrap();
    host_ends(&runtime, &bundle, container);
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("zzz")).unwrap(), "newer");
    fs::write(top.join("zzz"), "zzz").unwrap();
    is_whole(&top);

    // Without such things it is a container like others.
    fs::remove_dir_all(top.join("inner")).unwrap();
    fs::remove_dir_all(top.join("filled")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert!(!engine.join("inner").exists() && !engine.join("filled").exists());
    assert!(engine.join("copied/in/file").exists());
}

#[test]
fn vm_what_would_lack_it_is_refused_by_name() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &[], "loop");
    let (container, top) = starts(&runtime, &bundle, &id);
    plant(&top);
    // `docker commit` pauses first.
    let said = container.call("pause", &[]).fails(1);
    has(&said, &[&id, "3 of its files", "/inner/gone", "/filled", "would lack", "in a volume"]);
    container.becomes("running");
    let volume = snapshots().pop().unwrap();
    let said = sharedroot_tests::pool::refused(&["drop", &volume]);
    has(&said, &[&volume, "in use"]);
    is_whole(&top);
    container.call("delete", &["--force"]).ok();

    let said = out(&["sharedroot", "gc"]);
    has(&said, &[&format!("kept {volume}"), "the root of its container's next start"]);
    // Another kind of root has not what the snapshot has.
    for (readonly, mode) in [(false, "off"), (true, "shared")] {
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(readonly);
            config["annotations"]["dev.sharedroot.mode"] = json!(mode);
        });
        let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
        has(&said, &[&id, &volume, "/inner/gone", "pool drop"]);
    }
    has(&sharedroot_tests::pool::refused(&["drop", "private-none"]), &["pool inspect"]);
    has(&sharedroot_tests::pool::pool(&["drop", &volume]).ok(), &[&volume]);
    nothing_is_kept();
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["annotations"]["dev.sharedroot.mode"] = json!("private");
    });
    let (container, top) = starts(&runtime, &bundle, &id);
    the_rest(&top);
    assert!(!top.join("inner/gone").exists());
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The host ends under a container that holds such things, and its engine then removes it.
#[test]
fn vm_what_an_overlay_cannot_hold_survives_the_host_and_ends_with_its_container() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let mode = Mode::from_raw_mode(0o600);
    let (container, top) = starts(&runtime, &bundle, &id);
    rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, mode, 0).unwrap();
    container.call("delete", &["--force"]).ok();
    let kept = snapshots();
    assert_eq!(kept.len(), 1);
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("etc/unique"), "before the end").unwrap();
    host_ends(&runtime, &bundle, container);
    assert_eq!(snapshots(), kept);
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("etc/unique")).unwrap(), "before the end");
    assert_eq!(fs::symlink_metadata(top.join("gone")).unwrap().rdev(), 0);
    container.call("delete", &["--force"]).ok();
    assert_eq!(snapshots(), kept);

    bundle.unmount();
    let store = Path::new(&bundle.upper).parent().unwrap();
    let aside = store.with_extension("aside");
    fs::rename(store, &aside).unwrap();
    has(&out(&["sharedroot", "gc"]), &["its container is gone"]);
    nothing_is_kept();
    fs::rename(&aside, store).unwrap();
    bundle.mount();
}

/// A store that is backed up by hard links, and a file there that has as many as ext4 takes, but for one.
#[test]
fn vm_more_links_than_the_engines_file_system_takes_stay_in_the_snapshot() {
    /// EXT4_LINK_MAX
    const MOST: usize = 65_000;
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let store = Ext4::below(&bundle, &[], "loop");
    let engine = Path::new(&bundle.rootfs);
    fs::write(engine.join("many"), "many").unwrap();
    let (file, backup) =
        (Path::new(&bundle.upper).join("many"), Path::new(&store.0).join("backup"));
    fs::create_dir(&backup).unwrap();
    for n in 2..MOST {
        fs::hard_link(&file, backup.join(n.to_string())).unwrap();
    }
    let (container, top) = starts(&runtime, &bundle, &id);
    let links = ["links/a", "links/b", "links/c"];
    fs::create_dir(top.join("links")).unwrap();
    for name in links {
        fs::hard_link(top.join("many"), top.join(name)).unwrap();
    }
    fs::write(top.join("later"), "later").unwrap();
    let said = container.call("pause", &[]).fails(1);
    has(&said, &["2 of its files", "link /links/", "Too many links"]);
    let said = container.call("delete", &["--force"]);
    assert_eq!(said.status, 0, "{said}");
    has(&said.stderr, &["2 files", "Too many links", &snapshots()[0]]);
    // The rest was written.
    assert_eq!(fs::read_to_string(engine.join("later")).unwrap(), "later");
    assert_eq!(fs::read_dir(engine.join("links")).unwrap().count(), 1);

    let (container, top) = starts(&runtime, &bundle, &id);
    let inode = |name: &str| fs::metadata(top.join(name)).unwrap().ino();
    links.iter().for_each(|name| assert_eq!(inode(name), inode("many"), "{name}"));
    for name in &links[1..] {
        fs::remove_file(top.join(name)).unwrap();
    }
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The snapshot has its hard size, and is all that holds the container's files.
#[test]
fn vm_a_kept_snapshot_that_is_full_is_kept_when_a_copy_does_not_fit() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    bundle.edit(|config| config["annotations"]["dev.sharedroot.size"] = json!("32M"));
    let (container, top) = starts(&runtime, &bundle, &id);
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, mode, 0).unwrap();
    fs::write(top.join("most"), vec![1; 12 << 20]).unwrap();
    container.call("delete", &["--force"]).ok();
    let engine = Path::new(&bundle.rootfs);
    let copied = engine.join("copied");
    fs::write(&copied, vec![2; 24 << 20]).unwrap();
    assert_eq!(noticed(engine).len(), 1);

    // Nor may an image of the overlay be made now: each failed start leaves the notice there.
    for _ in 0..2 {
        let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
        assert_ne!(said.status, 0, "{said}");
        has(&said.stderr, &[&id, "copied", "No space left", "pool drop"]);
        assert_eq!(noticed(engine).len(), 1);
        assert!(engine.join(&noticed(engine)[0]).join(".wh.").exists());
    }
    fs::remove_file(&copied).unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::metadata(top.join("most")).unwrap().len(), 12 << 20);
    assert!(!top.join("copied").exists(), "a part of a file that did not fit");
    fs::remove_file(top.join("gone")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(noticed(engine).len(), 0);
}

/// The host's clock, an hour back. Dropping it puts it right.
struct SetBack;

impl SetBack {
    fn new() -> Self {
        out(&["date", "--set", "1 hour ago"]);
        Self
    }
}

impl Drop for SetBack {
    fn drop(&mut self) {
        out(&["date", "--set", "1 hour"]);
    }
}

#[test]
fn vm_a_copy_under_a_clock_that_was_set_back_is_seen() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, mode, 0).unwrap();
    fs::create_dir(top.join("dir")).unwrap();
    fs::write(top.join("dir/kept"), "kept").unwrap();
    container.call("delete", &["--force"]).ok();
    let engine = Path::new(&bundle.rootfs);
    let back = SetBack::new();
    fs::write(engine.join("etc/unique"), "copied over").unwrap();
    fs::write(engine.join("dir/copied"), "copied").unwrap();
    drop(back);
    let (container, top) = starts(&runtime, &bundle, &id);
    for (file, text) in
        [("etc/unique", "copied over"), ("dir/copied", "copied"), ("dir/kept", "kept")]
    {
        assert_eq!(fs::read_to_string(top.join(file)).unwrap(), text);
    }
    fs::remove_file(top.join("gone")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}
