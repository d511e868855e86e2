//! What `create` does, and does not do, for a container of an image whose base is mounted: seen by its system calls.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sharedroot_tests::bundle::{Bundle, make_rootfs};
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::driver::Layered;
use sharedroot_tests::kernel_view::{mounts_of, root_of};
use sharedroot_tests::lab::{TempDir, only_in_lab};
use sharedroot_tests::runtime::Runtime;

/// A Docker root in a directory of its own. Dropping it unmounts what was mounted below.
struct Docker {
    dir: TempDir,
    image: Layered,
    mounted: Vec<PathBuf>,
}

impl Docker {
    fn new() -> Self {
        let dir = TempDir::new("docker");
        let image = Layered::new(dir.0.join("root"), make_rootfs);
        Self { dir, image, mounted: Vec::new() }
    }

    /// A bundle of a read-only container of the image, whose process waits to be started.
    fn bundle(&mut self, runtime: &Runtime, id: &str) -> Bundle {
        let root = self.image.container(id);
        let bundle = Bundle::new(runtime, &["true"]);
        bundle.edit(|config| {
            config["root"] = json!({"path": root.to_str().expect("ASCII"), "readonly": true});
            config["linux"]["cgroupsPath"] = json!(format!("/create-path/{id}"));
        });
        self.mounted.push(root);
        bundle
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for root in &self.mounted {
            sharedroot_tests::command::run(&["umount", root.to_str().expect("ASCII")]);
        }
        let _ = fs::remove_dir("/sys/fs/cgroup/create-path");
        let _ = &self.dir;
    }
}

/// The lines of `strace -f` of a `create`, and what deletes its container.
fn traced(runtime: &Runtime, bundle: &Bundle, id: &str, dir: &TempDir) -> String {
    let log = dir.0.join(format!("strace-{id}"));
    let log = log.to_str().expect("ASCII");
    // -D: strace is nobody's parent, and stays with the container's process when `create` has ended.
    let create = ["--root", runtime.root(), "create", "--bundle", bundle.str(), id];
    Cmd::new("strace")
        .args(&["-D", "-f", "-qq", "-o", log, "/usr/local/bin/sharedroot"])
        .args(&create)
        .run()
        .ok();
    fs::read_to_string(log).expect("read strace's log")
}

/// The lines of the first process: our own part, the engine's being those of its children.
fn own_part(trace: &str) -> Vec<&str> {
    let first = trace.split_whitespace().next().expect("a line");
    trace.lines().filter(|line| line.split_whitespace().next() == Some(first)).collect()
}

#[test]
fn vm_create_with_a_mounted_base_asks_nobody() {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let [first, second] = ["first", "second"].map(unique_name);
    let bundle = docker.bundle(&runtime, &first);
    // The first container of the image makes and mounts its base.
    runtime.cmd(&["create", "--bundle", bundle.str(), &first]).run().ok();
    let bundle = docker.bundle(&runtime, &second);
    let before = mounts_of("self").len();
    let trace = traced(&runtime, &bundle, &second, &docker.dir);

    assert_eq!(mounts_of("self").len(), before, "`create` left a mount on the host");
    let pid = runtime.cmd(&["state", &second]).run().json()["pid"].as_i64().expect("a pid");
    assert!(root_of(i32::try_from(pid).expect("a pid")).is_on_dm(), "the container has the base");
    let own = own_part(&trace);
    assert!(own.len() > 50, "the trace is of `create`:\n{trace}");
    for (what, never) in [
        ("device-mapper", "/dev/mapper/control"),
        ("the store", "/var/lib/sharedroot"),
        ("the base's lock", "/run/sharedroot/lock/base-"),
        ("the mount table", "mountinfo"),
        ("the old mount table", "/proc/self/mounts"),
    ] {
        let found: Vec<_> = own.iter().filter(|line| line.contains(never)).collect();
        assert!(found.is_empty(), "`create` asked {what}: {found:#?}");
    }
    assert!(!trace.contains("DM_"), "nor does the engine ask device-mapper");
    // What it costs, so that it cannot grow unseen: two execs of the program, and our own part.
    let calls = own.iter().filter(|line| line.contains(" = ")).count();
    assert!(calls < MOST_CALLS, "{calls} system calls of our own:\n{}", own.join("\n"));
    for id in [&first, &second] {
        runtime.cmd(&["delete", "--force", id]).run().ok();
    }
}

/// System calls of the process that `create` is, linked statically or dynamically.
const MOST_CALLS: usize = 480;

#[test]
fn vm_the_container_is_born_in_its_cgroup() {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let id = unique_name("born");
    let bundle = docker.bundle(&runtime, &id);
    bundle.edit(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["resources"]["pids"] = json!({"limit": 500});
    });
    let trace = traced(&runtime, &bundle, &id, &docker.dir);
    assert!(trace.contains("CLONE_INTO_CGROUP") || trace.contains("0x200000000"), "{trace}");
    let pid = runtime.cmd(&["state", &id]).run().json()["pid"].as_i64().expect("a pid");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read its cgroup");
    assert_eq!(cgroup.trim(), format!("0::/create-path/{id}"));
    let dir = Path::new("/sys/fs/cgroup/create-path").join(&id);
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("read a file of the cgroup");
    assert_eq!(read("pids.max").trim(), "500", "the controllers are on");
    assert_eq!(read("cgroup.procs").trim(), pid.to_string(), "the engine has left it");

    runtime.cmd(&["start", &id]).run().ok();
    let exec =
        runtime.cmd(&["exec", &id, "cat", "/proc/self/cgroup", "/sys/fs/cgroup/cgroup.procs"]);
    let said = exec.run().ok();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("0::/"), "exec joins it: {said}");
    assert_eq!(lines.next(), Some("1"), "the container sees the real file: {said}");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    assert!(!dir.exists(), "delete leaves the cgroup");
}

#[test]
fn vm_a_container_that_cannot_be_made_leaves_no_cgroup() {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let id = unique_name("failed");
    let bundle = docker.bundle(&runtime, &id);
    bundle.edit(|config| config["process"]["args"] = json!(["/no/such/program"]));
    let failed = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("/no/such/program"), "{failed}");
    assert!(!Path::new("/sys/fs/cgroup/create-path").join(&id).exists(), "a cgroup is left");
    assert!(!Path::new(runtime.root()).join(&id).exists(), "a directory is left");
}
