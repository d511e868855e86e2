//! What happens at the edges of a container's life. Generic: `RUNTIME=runc` must pass too, but for the tests of sharedroot's own.
//!
//! Guest: --no-docker --engine crun --engine runc

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::runtime::Runtime;

const UNTIL_37: [&str; 3] = ["sh", "-c", "trap 'exit 3' 37; trap '' HUP; sleep 1000 & wait; wait"];

#[test]
fn vm_a_signal_leaves_the_status() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &UNTIL_37);
    let created = runtime.create(&bundle);
    // The waiting process is the container's init, whom the kernel spares what it does not handle.
    created.call("kill", &["CONT"]).ok();
    assert_eq!(created.status(), "created");
    created.call("start", &[]).ok();
    assert_eq!(created.status(), "running");

    created.call("pause", &[]).ok();
    created.call("kill", &["HUP"]).ok();
    assert_eq!(created.status(), "paused");
    created.call("resume", &[]).ok();
    assert_eq!(created.status(), "running");
}

#[test]
fn vm_real_time_signals_arrive() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &UNTIL_37);
    let container = runtime.start(&bundle);
    container.traps(37);
    container.call("kill", &["37"]).ok();
    container.becomes("stopped");
}

#[test]
fn vm_devices_are_those_of_the_configuration() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    // An allowed device and, by the rule before it, no other: the guest's root disk is 98:0.
    bundle.edit(|config| {
        config["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" },
        ]);
        let kmsg =
            json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600 });
        config["linux"]["devices"] = json!([kmsg]);
        let caps = json!(["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = caps.clone();
        }
    });
    let container = runtime.start(&bundle);
    let read = |device: &str| container.exec(&[], &["sh", "-c", &format!("exec 3<>{device}")]);
    for _ in ["before", "after an update"] {
        read("/dev/kmsg").ok();
        read("/dev/zero").ok();
        let disk = container.exec(
            &[],
            &["sh", "-c", "[ -e /dev/disk ] || busybox mknod /dev/disk b 98 0; exec 3</dev/disk"],
        );
        assert!(disk.stderr.contains("not permitted"), "{disk}");
        container.cmd("update", &["--pids-limit", "77"]).run().ok();
        assert_eq!(cgroup_file(container.pid(), "pids.max").trim(), "77");
    }
}

#[test]
fn vm_a_cgroup_with_children_is_removed() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let line = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let cgroup = format!("/sys/fs/cgroup{}", line.trim().strip_prefix("0::").unwrap());
    fs::create_dir_all(format!("{cgroup}/child/grandchild")).unwrap();
    container.cmd("delete", &["--force"]).run().ok();
    assert!(!fs::exists(&cgroup).unwrap());
}

#[test]
fn vm_the_working_directory_is_made() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["pwd"]);
    bundle.edit(|config| {
        config["process"]["cwd"] = json!("/made/for/it");
        config["root"]["readonly"] = json!(false);
    });
    let id = sharedroot_tests::command::unique_name("cwd");
    assert_eq!(runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok(), "/made/for/it");
}

/// CVE-2019-5736: the process that waits in the container still runs the host's binary. Ours alone: runc and crun run a
/// copy, of another inode; `vm_attacks_executable` makes the attack on either.
#[test]
fn vm_sharedroot_keeps_its_executable_out_of_reach() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.create(&bundle);
    let executable = format!("/proc/{}/exe", container.pid());
    let inode = |path: &str| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&executable), inode("/usr/local/bin/sharedroot"));
    // The attack keeps a handle until the binary no longer runs (until then a write is ETXTBSY), then opens it to write.
    const O_PATH: i32 = 0o10_000_000;
    let handle = fs::OpenOptions::new().read(true).custom_flags(O_PATH).open(&executable).unwrap();
    container.call("start", &[]).ok();
    let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // Other processes may run the same file a moment longer.
    let refused = wait_for("nothing runs the executable", || {
        let error = fs::OpenOptions::new().write(true).open(&through).unwrap_err().kind();
        (error != ErrorKind::ExecutableFileBusy).then_some(error)
    });
    assert_eq!(refused, ErrorKind::ReadOnlyFilesystem);
}

/// Ours alone: runc puts a new file in the place of the old one, where the embedded engine cuts its own to nothing first.
#[test]
fn vm_sharedroot_waits_for_a_state_that_is_being_written() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let file = format!("{}/{}/state.json", runtime.root(), container.id);
    let slow = ["-f", "-qq", "-o", "/dev/null", "-P", &file, "-e", "trace=write"];
    let mut pause = Command::new("strace")
        .args(slow)
        .args(["-e", "inject=write:delay_enter=1500000", runtime.program()])
        .args(["--root", runtime.root(), "pause", &container.id])
        .spawn()
        .expect("start strace");
    wait_for("the state is being written", || {
        (fs::metadata(&file).unwrap().len() == 0).then_some(())
    });
    assert_eq!(container.status(), "paused");
    assert_eq!(runtime.cmd(&["list", "--quiet"]).run().ok(), container.id);
    assert!(pause.wait().expect("wait for pause").success());
}

/// Ours alone: a killed `exec` leaves the socket of its process, and a later one can have the same number.
#[test]
fn vm_sharedroot_executes_after_one_that_was_killed_with_the_same_number() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let dir = Path::new(runtime.root()).join(&container.id);
    let here = std::process::id();
    for pid in here..here + 10_000 {
        fs::write(dir.join(format!("exec-{pid}.start")), "").unwrap();
    }
    container.exec(&[], &["true"]).ok();
    let left = fs::read_dir(&dir).unwrap().flatten();
    let left = left.filter(|file| file.file_name().to_string_lossy().starts_with("exec-")).count();
    assert_eq!(left, 9_999, "the process has a number among these");
}

/// Ours alone, for it is about our own records.
#[test]
fn vm_sharedroot_releases_an_abandoned_record() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    // What a create leaves that was killed before it made anything.
    let folder = fs::read_dir("/run/sharedroot/containers").unwrap().flatten();
    let place = folder.map(|f| f.path().join(&container.id)).find(|p| p.exists()).unwrap();
    container.cmd("delete", &["--force"]).run().ok();
    fs::create_dir(&place).unwrap();
    runtime.cmd(&["create", "--bundle", bundle.str(), &container.id]).run().ok();
    assert_eq!(container.status(), "created");
    // A process of another start time under the same number is not the container's.
    fs::write(place.join("init-started"), "1").unwrap();
    assert_eq!(container.status(), "stopped");
    let pid = container.pid();
    assert_ne!(container.call("kill", &["9"]).status, 0);
    assert_eq!(pid, 0);
}

/// A `pause` that was killed leaves such a cgroup, and an administrator can make one. A process that is cloned into it never runs.
#[test]
fn vm_a_container_with_a_frozen_cgroup_is_paused() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let line = cgroup_file(container.pid(), "cgroup.freeze");
    assert_eq!(line.trim(), "0");
    let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let file = format!("/sys/fs/cgroup{}/cgroup.freeze", own.trim().strip_prefix("0::").unwrap());
    fs::write(&file, "1").unwrap();
    wait_for("it is frozen", || {
        cgroup_file(container.pid(), "cgroup.events").contains("frozen 1").then_some(())
    });
    assert_eq!(container.status(), "paused");
    assert_ne!(container.exec(&[], &["true"]).status, 0);
    container.call("resume", &[]).ok();
    assert_eq!(container.status(), "running");
    container.exec(&[], &["true"]).ok();
}

#[test]
fn vm_a_stopped_container_has_no_limits_to_change() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["true"]);
    let container = runtime.start(&bundle);
    container.becomes("stopped");
    // crun changes the limits of the cgroup that is left.
    if runtime.engine() != Some("crun") {
        assert_ne!(container.cmd("update", &["--pids-limit", "77"]).run().status, 0);
    }
}
