//! A host without loop devices, in a guest of its own.
//!
//! Guest: --limit 800 --shim long

use std::fs;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, run};
use sharedroot_tests::docker::docker_run;
use sharedroot_tests::lab::{Replaced, only_in_lab, wait_for};

#[test]
fn vm_without_loop_devices() {
    only_in_lab();
    // Docker's own directories appear with the first container.
    docker_run("runc", &["--read-only", "busybox", "true"]).ok();
    let not_shared = ["--read-only", "--annotation=dev.sharedroot.mode=off", "busybox", "true"];
    docker_run("sharedroot", &not_shared).ok();

    let blocked =
        Replaced::with("/etc/modprobe.d/no-loop.conf", "install loop /bin/false\nblacklist loop\n");
    // The kernel lets go of the loop devices of earlier tests in its own time.
    wait_for("nobody uses the module", || (run(&["rmmod", "loop"]).status == 0).then_some(()));
    // Without udev the module's nodes stay as dead files.
    out(&["sh", "-c", "rm -f /dev/loop*"]);
    let before = Census::take();
    for flags in [&["--read-only"][..], &[]] {
        let output = docker_run("sharedroot", &[flags, &["busybox", "true"]].concat());
        assert_eq!(output.status, 125, "{output}");
        for word in ["loop", "modprobe loop", "--data-dev", "--metadata-dev"] {
            assert!(output.stderr.contains(word), "{word:?} is not in: {output}");
        }
        let store =
            |line: &str| line.contains("file /var/lib/sharedroot/") && line.contains("store");
        before.nothing_left_but(store);
    }
    assert!(!fs::exists("/sys/module/loop").unwrap(), "somebody loaded the module");
    docker_run("sharedroot", &not_shared).ok();

    drop(blocked);
    out(&["modprobe", "loop"]);
    for flags in [&["--read-only"][..], &[]] {
        docker_run("sharedroot", &[flags, &["busybox", "true"]].concat()).ok();
    }
    assert!(run(&["dmsetup", "status", "sharedroot-default"]).ok().contains("thin-pool"));
}
