//! A container with CAP_SYS_ADMIN shuts the file system of its root down: no other container of the image may notice.
//!
//! Guest: --no-docker

use sharedroot_tests::attack::allow;
use sharedroot_tests::command::{out, run};
use sharedroot_tests::kept::nothing_is_kept;
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
