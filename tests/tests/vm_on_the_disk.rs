//! What sharedroot calls whole is on the disk: a power cut after it, or a process that is killed before it, loses nothing.
//!
//! Guest: --no-docker --takes 60

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sharedroot_tests::command::{Cmd, Output, out, run, unique_name};
use sharedroot_tests::kept::{end, files, nothing_is_kept, noticed, snapshots, starts};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{STATE_DIR, TempDir, only_in_lab, wait_for};
use sharedroot_tests::pool::{has, reboot, small_bases};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::stack::{Ext4, Image, Stacked};

/// Runs a command of the runtime under strace(1), which does `what` to its syncfs(2).
#[track_caller]
fn traced(runtime: &Runtime, what: &[&str], words: &[&str]) -> Output {
    let traced = ["-f", "-qq", "-e", "trace=syncfs"];
    Cmd::new("strace")
        .args(&traced)
        .args(what)
        .args(&[runtime.program(), "--root", runtime.root()])
        .args(words)
        .run()
}

/// What the disk of a snapshot has at this moment, as after a power cut: the memory's part of the file system is lost.
struct Cut(TempDir);

/// The bytes that [`Cut::put_back`] compares: a block of the pool.
const BLOCK: u64 = 64 << 10;

impl Cut {
    #[track_caller]
    fn of(container: &Container<'_>) -> Self {
        let dir = TempDir::new("cut");
        let [node, disk, at] = ["node", "disk", "tree"].map(|name| format!("{}/{name}", dir.str()));
        let device = root_of(container.pid()).device;
        let (major, minor) = device.split_once(':').unwrap();
        out(&["mknod", &node, "b", major, minor]);
        let (from, to) = (format!("if={node}"), format!("of={disk}"));
        out(&["dd", &from, &to, "bs=1M", "iflag=direct", "conv=sparse", "status=none"]);
        // The mount replays the journal.
        out(&["cp", "--sparse=always", &disk, &format!("{disk}.whole")]);
        fs::create_dir(&at).unwrap();
        out(&["mount", "-o", "loop", &disk, &at]);
        Self(dir)
    }

    /// Gives the device of the snapshot, which nobody has mounted now, what the disk had.
    #[track_caller]
    fn put_back(&self) {
        let open = |name| File::options().read(true).write(true).open(self.0.0.join(name)).unwrap();
        let (disk, node) = (open("disk.whole"), open("node"));
        let (mut wanted, mut found) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
        for at in (0..disk.metadata().unwrap().len()).step_by(BLOCK as usize) {
            disk.read_exact_at(&mut wanted, at).unwrap();
            node.read_exact_at(&mut found, at).unwrap();
            if wanted != found {
                node.write_all_at(&wanted, at).unwrap();
            }
        }
        node.sync_all().unwrap();
    }

    fn tree(&self) -> std::path::PathBuf {
        self.0.0.join("tree")
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        run(&["umount", self.tree().to_str().unwrap()]);
    }
}

/// The kept changes would otherwise be older than what the next start takes for newer.
#[test]
fn vm_a_snapshot_that_a_start_filled_is_whole_on_the_disk() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let made = Path::new(&bundle.rootfs).join("made");
    fs::create_dir(&made).unwrap();
    let name = |n: usize| format!("file-{n}");
    for n in 0..200 {
        fs::write(made.join(name(n)), "earlier".repeat(1000)).unwrap();
    }
    out(&["sync"]);
    let (container, _) = starts(&runtime, &bundle, &id);
    let cut = Cut::of(&container);
    for n in 0..200 {
        let found = fs::read_to_string(cut.tree().join("made").join(name(n)));
        assert_eq!(found.ok(), Some("earlier".repeat(1000)), "{n}");
    }
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The second write-back finds nothing to change.
#[test]
fn vm_a_write_back_that_was_killed_before_its_sync_is_synced() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("made"), "made").unwrap();
    let delete = ["delete", "--force", &*id];
    let killed = traced(&runtime, &["-e", "inject=syncfs:signal=KILL"], &delete);
    assert_ne!(killed.status, 0, "{killed}");
    assert_eq!(fs::read_to_string(Path::new(&bundle.rootfs).join("made")).unwrap(), "made");
    assert_eq!(snapshots().len(), 1);
    let again = traced(&runtime, &[], &delete);
    assert_eq!(again.status, 0, "{again}");
    has(&again.stderr, &["syncfs("]);
    nothing_is_kept();
    std::mem::forget(container);

    // Nothing was changed, so nothing is synced: the engine's disk has more to do.
    let (container, _) = starts(&runtime, &bundle, &id);
    let unchanged = traced(&runtime, &[], &delete);
    assert!(unchanged.status == 0 && !unchanged.stderr.contains("syncfs("), "{unchanged}");
    std::mem::forget(container);
}

/// After the error the memory shows what the disk lacks, and a second sync reports no error.
#[test]
fn vm_a_write_back_that_the_disk_did_not_take_keeps_the_snapshot() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("made"), "made").unwrap();
    let delete = ["delete", "--force", &*id];
    let refused = traced(&runtime, &["-e", "inject=syncfs:error=EIO"], &delete);
    has(&refused.stderr, &[&id, "sync what container", "Input/output error", "boot the host"]);
    let again = runtime.cmd(&delete).run();
    assert_ne!(again.status, 0, "{again}");
    has(&again.stderr, &[&id, "sync what container", "boot the host"]);
    assert_eq!(snapshots().len(), 1);
    std::mem::forget(container);

    // The end of the host: the disk lacks the file.
    bundle.unmount();
    fs::remove_file(Path::new(&bundle.upper).join("made")).unwrap();
    let _ = fs::remove_dir_all(Path::new(runtime.root()).join(&id));
    reboot();
    bundle.mount();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("made")).unwrap(), "made");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The overlay lacks files as before, and must still say so.
#[test]
fn vm_a_start_that_was_killed_leaves_the_notice() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let _store = Ext4::below(&bundle, &[], "loop");
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    let long = "x".repeat(3000);
    for n in 0..8 {
        // Another file system has no room for it.
        let name = format!("user.{n}");
        let flags = rustix::fs::XattrFlags::empty();
        let _ = rustix::fs::setxattr(top.join("etc"), &name, long.as_bytes(), flags);
    }
    container.call("delete", &["--force"]).ok();
    assert_eq!(noticed(engine).len(), 1);
    fs::write(engine.join("copied"), "copied").unwrap();
    let create = ["create", "--bundle", bundle.str(), &*id];
    let killed = traced(&runtime, &["-e", "inject=syncfs:signal=KILL"], &create);
    assert_ne!(killed.status, 0, "{killed}");
    assert_eq!(noticed(engine), Vec::<String>::new());
    let _ = runtime.cmd(&["delete", "--force", &id]).run();
    assert_eq!(noticed(engine).len(), 1, "the engine's delete puts it back");
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("copied")).unwrap(), "copied");
    container.call("delete", &["--force"]).ok();
    let volume = snapshots().pop().expect("the snapshot stays");
    sharedroot_tests::pool::pool(&["drop", &volume]).ok();
    nothing_is_kept();
}

/// Longer than the file system waits with a commit of its journal.
const COMMITTED: Duration = Duration::from_secs(7);

/// A file of the image in a new container, with one byte overwritten and acknowledged; then the power cut.
#[track_caller]
fn overwrite_and_cut(runtime: &Runtime, bundle: &Stacked, id: &str) -> Cut {
    let (container, top) = starts(runtime, bundle, id);
    let before = fs::metadata(top.join("database")).unwrap();
    let database = File::options().write(true).open(top.join("database")).unwrap();
    sleep(COMMITTED);
    database.write_all_at(b"x", 100_000).unwrap();
    database.sync_data().unwrap();
    let cut = Cut::of(&container);
    drop(database);
    // The disk has the byte, and the time of the base.
    let found = fs::read(cut.tree().join("database")).unwrap();
    assert_eq!((found.len(), found[100_000]), (300_000, b'x'));
    let after = fs::metadata(cut.tree().join("database")).unwrap();
    assert_eq!((after.ctime(), after.ctime_nsec()), (before.ctime(), before.ctime_nsec()));

    end(&container);
    let state = Path::new(runtime.root()).join(&container.id);
    std::mem::forget(container);
    out(&["umount", "--lazy", &bundle.rootfs]);
    let volume = snapshots().pop().expect("a snapshot");
    let node = format!("sharedroot-default-{volume}");
    let opened = ["dmsetup", "info", "--columns", "--noheadings", "-o", "open", &node];
    wait_for("the snapshot is unmounted", || (out(&opened).trim() == "0").then_some(()));
    cut.put_back();
    fs::remove_dir_all(state).unwrap();
    reboot();
    cut
}

/// fdatasync(2) acknowledges overwritten bytes without the new time of the inode, from which a write-back knows a change.
#[test]
fn vm_an_overwrite_that_was_acknowledged_outlives_a_power_cut() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    fs::write(image.top().join("database"), vec![b'o'; 300_000]).unwrap();
    for killed in [false, true] {
        let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
        let cut = overwrite_and_cut(&runtime, &bundle, &id);
        let written_back = Path::new(&bundle.upper).join("database");
        if killed {
            // A start that is killed after it has replayed the journal, and before it has written the bytes.
            let create = ["create", "--bundle", bundle.str(), &*id];
            let kill = ["-e", "trace=chmod,fchmodat", "-e", "inject=chmod,fchmodat:signal=KILL"];
            let killed = traced(&runtime, &kill, &create);
            assert_ne!(killed.status, 0, "{killed}");
            let copied = fs::read(&written_back).is_ok_and(|copied| copied[100_000] == b'x');
            assert!(!copied && snapshots().len() == 1, "{killed}");
            let note = files().into_iter().find(|name| name.ends_with(".json")).expect("a note");
            has(&fs::read_to_string(Path::new(STATE_DIR).join(note)).unwrap(), &["replayed"]);
        }
        let (container, top) = starts(&runtime, &bundle, &id);
        let mut wanted = vec![b'o'; 300_000];
        wanted[100_000] = b'x';
        assert!(fs::read(top.join("database")).unwrap() == wanted, "killed: {killed}");
        assert!(fs::read(&written_back).unwrap() == wanted, "killed: {killed}");
        // Nothing else is copied.
        let mut names: Vec<_> =
            fs::read_dir(&bundle.upper).unwrap().map(|name| name.unwrap().file_name()).collect();
        names.sort();
        println!("killed: {killed}: in the upper directory: {names:?}");
        assert!(!Path::new(&bundle.upper).join("etc/unique").exists());
        container.call("delete", &["--force"]).ok();
        std::mem::forget(container);
        nothing_is_kept();
        drop(cut);
    }
}
