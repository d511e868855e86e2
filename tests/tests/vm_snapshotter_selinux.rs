//! Labels of the snapshotter's roots where SELinux is on: a snapshot has the label of its container, which Docker does not tell
//! its snapshotter, and the image's volume that containers share has the shared label.
//!
//! Guest: --selinux permissive --with snapshotter --alone --limit 1200

use std::fs;

use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::selinux::{Context, SHARED};
use sharedroot_tests::snapshotter::{Containerd, Dockerd, Snapshotter};

/// A new container, its init process, and the label that Docker gives to its files.
#[track_caller]
fn run(dockerd: &Dockerd, name: &str, flags: &[&str]) -> (i32, String) {
    let run = ["run", "-d", "--network=none", "--name", name];
    dockerd.docker(&[&run[..], flags, &["busybox", "sleep", "1000"]].concat()).ok();
    let ask = |what: &str| dockerd.docker(&["inspect", "--format", what, name]).ok();
    let pid = ask("{{.State.Pid}}").trim().parse().expect("a PID");
    (pid, ask("{{.MountLabel}}").trim().to_owned())
}

#[test]
fn vm_roots_of_the_snapshotter_have_their_labels() {
    only_in_lab();
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let dockerd = Dockerd::on("sharedroot");
    dockerd.load("busybox");
    // containerd is a child of the test here, not of the init process, so it is in another domain than a host's: its pipes take nothing
    // from a container where SELinux enforces. So what containers print is not read.
    let exec = |name: &str, script: &str| dockerd.docker(&["exec", name, "sh", "-c", script]);
    let is_new = |name: &str| {
        let pid = dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", name]).ok();
        let path = format!("/proc/{}/root/new", pid.trim());
        assert_eq!(fs::read_to_string(path).expect("what the container wrote"), "new\n", "{name}");
    };
    let mut levels = Vec::new();
    for runtime in ["runc", "sharedroot"] {
        let (pid, label) = run(&dockerd, runtime, &["--runtime", runtime]);
        let found = Context::seen_by(pid, "/");
        assert_eq!(found, label.as_str(), "{runtime}: the label of Docker's record");
        assert_eq!(found.kind(), "container_file_t", "{runtime}");
        assert!(root_of(pid).is_on_dm());
        levels.push(found.level().to_owned());
        exec(runtime, "echo new > /new").ok();
        is_new(runtime);
        // While the snapshot is mounted, Docker mounts it once more, and its parent, which has the shared label.
        assert_eq!(dockerd.docker(&["diff", runtime]).ok().trim(), "A /new", "{runtime}");
        dockerd.docker(&["restart", "--time=0", runtime]).ok();
        is_new(runtime);
    }
    assert_ne!(levels[0], levels[1], "each container has categories of its own");
    let read_only = ["--runtime", "sharedroot", "--read-only"];
    let shared = ["first", "second"].map(|name| run(&dockerd, name, &read_only).0);
    assert_eq!(root_of(shared[0]).device, root_of(shared[1]).device);
    for pid in shared {
        assert_eq!(Context::seen_by(pid, "/"), SHARED);
        assert_eq!(Context::seen_by(pid, "/bin/busybox"), SHARED);
    }
    assert_ne!(exec("first", "echo x > /x").status, 0, "it is read-only");
    exec("first", "test -x /bin/busybox").ok();
    assert_eq!(dockerd.docker(&["diff", "first"]).ok(), "");
    let all = ["runc", "sharedroot", "first", "second"];
    dockerd.docker(&[&["rm", "--force"], &all[..]].concat()).ok();
    dockerd.docker(&["rmi", "busybox"]).ok();
}
