//! Roots of containers that have ended, while another container holds a descriptor of them: they take nothing of the pool, and
//! they do not add up.
//!
//! Guest: --no-docker --takes 150

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde_json::json;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::documented;
use sharedroot_tests::kept::{nothing_is_kept, snapshots, starts};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::panic::{choose_panic, nothing_can_be_read};
use sharedroot_tests::pool::{has, small_bases, status};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::stack::Image;

const FILLED: usize = 64 << 20;
/// The bound of all containers together (docs/limits.md).
const MOST: usize = 64;

/// What the pool has given out.
fn used() -> u64 {
    status()["data"]["used_bytes"].as_u64().expect("a number")
}

/// The devices of deleted volumes.
fn devices() -> Vec<String> {
    let names = out(&["dmsetup", "ls"]);
    let names = names.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.contains("-deleted.")).map(str::to_owned).collect()
}

/// What another container gets by SCM_RIGHTS: an open directory of the container's own mount.
fn descriptor(top: &Path) -> File {
    let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(top).expect("open the root")
}

/// Takes room of the pool that nothing gives back: ext4 discards nothing by itself.
fn fill_and_unlink(top: &Path) {
    let path = top.join("filled");
    fs::write(&path, vec![b'f'; FILLED]).expect("fill");
    File::open(&path).and_then(|file| file.sync_all()).expect("sync");
    fs::remove_file(&path).expect("unlink");
}

fn ends(container: Container<'_>) {
    container.call("delete", &["--force"]).ok();
    std::mem::forget(container);
}

/// Reads through the descriptor as fast as another container can, and returns how many lines the kernel logs for that.
fn lines_logged_for_reads(held: &File) -> usize {
    let logged = || out(&["dmesg"]).lines().filter(|line| line.contains(" dm-")).count();
    let (before, mut failed) = (logged(), 0);
    for number in 0..20_000 {
        let name = format!("lib/{number}");
        let opened = rustix::fs::openat(held, name, OFlags::RDONLY, Mode::empty());
        failed += usize::from(opened.is_err());
        let program = rustix::fs::openat(held, "bin/busybox", OFlags::RDONLY, Mode::empty());
        if let Ok(program) = program {
            let _ = File::from(program).read_to_end(&mut Vec::new());
        }
    }
    assert_eq!(failed, 20_000);
    logged().saturating_sub(before)
}

/// A process with CAP_SYS_ADMIN may have chosen what its file system does at an error, and another one may choose later, by its
/// descriptor. The deletion of the volume makes errors.
#[test]
fn vm_the_errors_of_a_root_that_has_ended_do_not_panic_the_host() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    // The host has the file system at this place, too.
    out(&["mount", "-o", "remount,errors=panic", &bundle.rootfs]);
    let held = descriptor(&top);
    ends(container);
    fs::write("/proc/sys/vm/drop_caches", "3").expect("drop the caches");
    // Before the first error, which could end the file system.
    println!("the choice is taken once more: {}", choose_panic(&held));
    nothing_can_be_read(&held, "bin/busybox");
    println!("the kernel's lines for 40,000 reads: {}", lines_logged_for_reads(&held));
}

#[test]
fn vm_a_descriptor_of_a_root_holds_nothing_of_the_pool_and_one_device() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, _) = starts(&runtime, &bundle, &id);
    ends(container);
    let (before, mut held, mut on_dm) = (used(), Vec::new(), Vec::new());
    for round in 0..4 {
        let (container, top) = starts(&runtime, &bundle, &id);
        on_dm.push(root_of(container.pid()).is_on_dm());
        held.push(descriptor(&top));
        fill_and_unlink(&top);
        ends(container);
        let (more, devices) = (used().saturating_sub(before), devices());
        println!("round {round}: {more} bytes more, {devices:?}");
        assert!(more < FILLED as u64 / 8, "round {round}: {more} bytes");
        assert_eq!((devices.len(), snapshots().len()), (1, 0), "round {round}");
    }
    assert_eq!(on_dm, [true, false, false, false]);

    println!("the kernel's lines for 40,000 reads: {}", lines_logged_for_reads(&held[0]));
    let (container, _) = starts(&runtime, &bundle, &id);
    let shown = documented::json("status", &[])["containers"]["not_shared"].to_string();
    let holder = format!("(pid {}) holding it open", std::process::id());
    has(&shown, &[&container.id, "an earlier start of the container is still in use", &holder]);
    ends(container);
    // Another container is not concerned.
    let other = image.bundle(&runtime, false, &["sleep", "1000"]);
    let container = runtime.start(&other);
    assert!(root_of(container.pid()).is_on_dm());
    drop(container);
    // Nobody would enforce a size.
    bundle.edit(|config| config["annotations"]["dev.sharedroot.size"] = json!("256M"));
    let refused = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
    assert_ne!(refused.status, 0, "{refused}");
    has(&refused.stderr, &["dev.sharedroot.size", "still in use", &holder]);

    drop(held);
    wait_for("the device is gone", || devices().is_empty().then_some(()));
    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(root_of(container.pid()).is_on_dm());
    fs::write(top.join("written"), "written").unwrap();
    ends(container);
    let written = fs::read_to_string(Path::new(&bundle.upper).join("written"));
    assert_eq!(written.expect("written back"), "written");
    nothing_is_kept();
    assert_eq!((devices(), used()), (vec![], before));
}

/// A search for the users that looked at each of these descriptors would take minutes, and Docker kills a `delete` after 30 s.
#[test]
fn vm_a_root_that_is_in_use_among_many_descriptors_is_deleted_in_seconds() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, _) = starts(&runtime, &bundle, &id);
    ends(container);
    let before = used();
    let (container, top) = starts(&runtime, &bundle, &id);
    fill_and_unlink(&top);
    let mut holder = ManyDescriptors::and(&top);
    let begin = Instant::now();
    ends(container);
    let took = begin.elapsed();
    let more = used().saturating_sub(before);
    println!("deleted after {took:?}, with {more} bytes more");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(more < FILLED as u64 / 8, "{more} bytes");
    assert_eq!((devices().len(), snapshots().len()), (1, 0));

    let begin = Instant::now();
    let (container, _) = starts(&runtime, &bundle, &id);
    println!("started after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let shown = documented::json("status", &[])["containers"]["not_shared"].to_string();
    has(&shown, &["an earlier start of the container is still in use"]);
    ends(container);
    holder.end();
    wait_for("the device is gone", || devices().is_empty().then_some(()));
    nothing_is_kept();
    assert_eq!(used(), before);
}

/// 50 processes that share one table of 500,000 descriptors and, behind them, one of a container's root.
struct ManyDescriptors(Child);

impl ManyDescriptors {
    fn and(top: &Path) -> Self {
        const SCRIPT: &str = include_str!("../fixtures/processes/many_descriptors.pl");
        let mut child = Command::new("prlimit")
            .args(["--nofile=500100", "perl", "-e", SCRIPT, "500000", "50"])
            .arg(top)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("prlimit");
        let mut said = [0; 6];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("it is ready");
        Self(child)
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("the end");
    }
}

impl Drop for ManyDescriptors {
    fn drop(&mut self) {
        self.end();
    }
}

/// An engine can give a container a new ID at each restart.
#[test]
fn vm_the_roots_of_many_ids_have_a_bound() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let mut held = Vec::new();
    for _ in 0..MOST {
        let (container, top) = starts(&runtime, &bundle, &unique_name("c"));
        assert!(root_of(container.pid()).is_on_dm());
        held.push(descriptor(&top));
        ends(container);
    }
    assert_eq!(devices().len(), MOST);
    let (container, top) = starts(&runtime, &bundle, &unique_name("c"));
    assert!(!root_of(container.pid()).is_on_dm());
    let shown = documented::json("status", &[])["containers"]["not_shared"].to_string();
    has(&shown, &["the roots of 64 containers that have ended are still in use"]);
    held.push(descriptor(&top));
    ends(container);
    assert_eq!(devices().len(), MOST);

    held.remove(0);
    wait_for("a device is gone", || (devices().len() < MOST).then_some(()));
    let (container, _) = starts(&runtime, &bundle, &unique_name("c"));
    assert!(root_of(container.pid()).is_on_dm());
    ends(container);
    drop(held);
    wait_for("the devices are gone", || devices().is_empty().then_some(()));
    nothing_is_kept();
}
