//! A container with CAP_SYS_ADMIN shuts the file system of its root down: no other container of the image may notice.
//!
//! Guest: --no-docker

use std::fs::{self, File};
use std::path::Path;

use sharedroot_tests::attack::allow;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::kept::{nothing_is_kept, snapshots, starts};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// `EXT4_IOC_SHUTDOWN` of linux/ext4.h, without a flush of the journal, on the directory that is named.
const SHUTDOWN: &str = "import fcntl, os, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, (2).to_bytes(4, 'little'))";

#[test]
fn vm_a_base_cannot_be_shut_down_by_a_container() {
    only_in_lab();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let others = image.bundle(&runtime, true, &["sleep", "1000"]);
    let other = runtime.start(&others);
    assert!(root_of(other.pid()).is_on_dm(), "without the capability nothing lies above the base");
    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    bundle.edit(|config| allow(config, &["CAP_SYS_ADMIN"]));
    let container = runtime.start(&bundle);
    for path in ["", "/etc", "/bin"] {
        let path = format!("/proc/{}/root{path}", container.pid());
        let said = run(&["python3", "-c", SHUTDOWN, &path]);
        assert!(said.stderr.contains("Errno 25"), "no such ioctl on an overlay: {said}");
    }
    out(&["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"]);
    assert_eq!(other.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);

    // The means is real: a writable container's root is its own, and ends.
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let alone = runtime.start(&bundle);
    out(&["python3", "-c", SHUTDOWN, &format!("/proc/{}/root", alone.pid())]);
    let said = alone.exec(&[], &["touch", "/new"]);
    assert_ne!(said.status, 0, "{said}");
    // And it ends as any other: the file system is whole when it is mounted anew.
    alone.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(other.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
}

/// What no guard covers (docs/security.md): while somebody else holds a descriptor of such a root, nothing can read it.
#[test]
fn vm_a_private_root_that_was_shut_down_ends_when_nobody_else_uses_it() {
    only_in_lab();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("written"), "written").expect("write");
    File::open(top.join("written")).and_then(|file| file.sync_all()).expect("on the disk");
    let held = File::open(&top).expect("open the root");
    out(&["python3", "-c", SHUTDOWN, top.to_str().expect("UTF-8")]);
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    println!("delete: {said}");
    assert_eq!(snapshots().len(), 1);
    drop(held);
    container.call("delete", &["--force"]).ok();
    std::mem::forget(container);
    let written = fs::read_to_string(Path::new(&bundle.upper).join("written"));
    assert_eq!(written.expect("written back"), "written");
    nothing_is_kept();
}
