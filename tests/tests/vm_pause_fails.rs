//! A `pause` of a container whose process is in one long system call, as a write to a slow disk. Sharedroot's own: the test stops
//! the disk of a private root.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{major, minor};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::starts;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// Writes and waits for the disk when it gets the signal.
const WRITES: &str = "trap 'dd if=/dev/zero of=/file bs=4k count=1 conv=fsync' USR1; sleep 1000 & wait; sleep 1000 & wait";

/// The device-mapper name of the disk of a file system.
fn disk(top: &std::path::Path) -> String {
    let dev = fs::metadata(top).unwrap().dev();
    let name = format!("/sys/dev/block/{}:{}/dm/name", major(dev), minor(dev));
    fs::read_to_string(name).unwrap().trim().to_owned()
}

#[test]
fn vm_a_pause_that_fails_leaves_the_container_running() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sh", "-c", WRITES]);
    let (container, top) = starts(&runtime, &bundle, &unique_name("c"));
    container.traps(10);
    let disk = disk(&top);
    out(&["dmsetup", "suspend", "--nolockfs", "--noflush", &disk]);
    container.call("kill", &["USR1"]).ok();
    let waits = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("State:\tD")
    };
    wait_for("its process waits for the disk", || {
        cgroup_file(container.pid(), "cgroup.procs").lines().any(waits).then_some(())
    });
    let said = container.call("pause", &[]);
    let frozen = cgroup_file(container.pid(), "cgroup.freeze");
    out(&["dmsetup", "resume", &disk]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &[&container.id, "pause"]);
    assert_eq!((frozen.trim(), container.status().as_str()), ("0", "running"));
    container.exec(&[], &["true"]).ok();
    container.call("pause", &[]).ok();
    container.call("resume", &[]).ok();
    container.call("delete", &["--force"]).ok();
}
