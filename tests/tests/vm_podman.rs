//! podman with `--runtime`. Generic: passes with `RUNTIME=runc`, too; what only ours does is asked of ours only.
//!
//! Guest: --no-docker --takes 50

use std::fs;

use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{Cmd, Output, out, run, unique_name};
use sharedroot_tests::docker::{record, runtime};
use sharedroot_tests::kernel_view::{cgroup_file, confinement, confinement_of, root_of};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};

/// The two kinds of root.
const KINDS: [&[&str]; 2] = [&["--read-only"], &[]];
const UNTIL_TERM: &str = "trap 'echo ended; exit 7' TERM; sleep 1000 & echo begun; wait";
const IMAGE: &str = "localhost/busybox";

/// podman where there is no systemd and no journal.
#[track_caller]
fn podman(words: &[&str]) -> Output {
    let runtime = out(&["which", &runtime()]);
    let flags = ["--runtime", &runtime, "--cgroup-manager=cgroupfs", "--events-backend=file"];
    Cmd::new("podman").args(&flags).args(words).run()
}

/// The image, once in each guest: one layer with busybox.
#[track_caller]
fn image() {
    only_in_lab();
    if podman(&["image", "exists", IMAGE]).status == 0 {
        return;
    }
    let dir = TempDir::new("image");
    let (rootfs, tar) = (dir.0.join("rootfs"), dir.0.join("rootfs.tar"));
    make_rootfs(&rootfs);
    fs::write(rootfs.join("tmp/of-the-image"), "of the image").expect("write a file");
    let (rootfs, tar) = (rootfs.to_str().expect("ASCII"), tar.to_str().expect("ASCII"));
    out(&["tar", "--create", "--file", tar, "--directory", rootfs, "."]);
    podman(&["import", "--quiet", tar, IMAGE]).ok();
}

/// `podman run --rm` to its end.
#[track_caller]
fn busybox(flags: &[&str], command: &[&str]) -> Output {
    image();
    podman(&[&["run", "--rm", "--network=none"], flags, &[IMAGE], command].concat())
}

/// A running container; dropping it removes it.
struct Container(String);

impl Container {
    #[track_caller]
    fn run(flags: &[&str]) -> Self {
        image();
        let container = Self(unique_name("podman"));
        let run = ["run", "--detach", "--network=none", "--name", &container.0];
        podman(&[&run, flags, &[IMAGE, "sh", "-c", UNTIL_TERM]].concat()).ok();
        wait_for("the trap is set", || container.logs().contains("begun").then_some(()));
        container
    }

    #[track_caller]
    fn logs(&self) -> String {
        podman(&["logs", &self.0]).ok()
    }

    #[track_caller]
    fn exec(&self, command: &[&str]) -> Output {
        podman(&[&["exec", &self.0], command].concat())
    }

    #[track_caller]
    fn inspect(&self, part: &str) -> String {
        podman(&["inspect", "--format", &format!("{{{{{part}}}}}"), &self.0]).ok()
    }

    #[track_caller]
    fn pid(&self) -> i32 {
        self.inspect(".State.Pid").parse().expect("a pid")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        podman(&["rm", "--force", "--time=0", &self.0]);
    }
}

#[test]
fn vm_podman_run() {
    for kind in KINDS {
        let said = busybox(kind, &["sh", "-c", "echo said; echo away >&2; exit 5"]);
        assert_eq!((said.status, said.stdout.trim(), said.stderr.trim()), (5, "said", "away"));
        assert_eq!(busybox(&[kind, &["--user=user"]].concat(), &["id", "-u"]).ok(), "1000");
        assert_eq!(
            busybox(&[kind, &["--env=A=b c"]].concat(), &["sh", "-c", "echo $A"]).ok(),
            "b c"
        );
        let write = busybox(kind, &["touch", "/etc/file"]);
        assert_eq!(write.status == 0, kind.is_empty(), "{write}");
        busybox(kind, &["/no/such/program"]).fails(127);
    }
}

#[test]
fn vm_podman_exec_logs_and_stop() {
    for kind in KINDS {
        let container = Container::run(kind);
        let status = container.exec(&["cat", "/proc/self/status"]).ok();
        assert_eq!(confinement(&status), confinement_of(container.pid()), "{kind:?}");
        container.exec(&["sh", "-c", "exit 9"]).fails(9);
        podman(&["stop", &container.0]).ok();
        assert_eq!(container.inspect(".State.ExitCode"), "7", "{kind:?}");
        // conmon writes the log.
        wait_for("the log has its end", || container.logs().contains("ended").then_some(()));
        assert_eq!(container.logs(), "begun\nended", "{kind:?}");
        podman(&["start", &container.0]).ok();
        assert_eq!(container.exec(&["echo", "again"]).ok(), "again", "{kind:?}");
    }
}

#[test]
fn vm_podman_a_terminal() {
    image();
    let runtime = out(&["which", &runtime()]);
    let line = format!(
        "podman --runtime {runtime} --cgroup-manager=cgroupfs --events-backend=file run --rm -it --network=none \
         --read-only {IMAGE} sh -c 'test -t 0 && test -t 1 && echo all; exit 6'"
    );
    let said = run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"]).fails(6);
    assert!(said.contains("all"), "{said:?}");
}

#[test]
fn vm_podman_pause_limits_and_top() {
    let container = Container::run(&["--read-only", "--memory=64m", "--pids-limit=50"]);
    assert_eq!(cgroup_file(container.pid(), "memory.max"), "67108864");
    assert_eq!(cgroup_file(container.pid(), "pids.max"), "50");
    podman(&["update", "--pids-limit=77", &container.0]).ok();
    assert_eq!(cgroup_file(container.pid(), "pids.max"), "77");
    podman(&["pause", &container.0]).ok();
    assert!(cgroup_file(container.pid(), "cgroup.events").contains("frozen 1"));
    podman(&["unpause", &container.0]).ok();
    let top = podman(&["top", &container.0, "args"]).ok();
    assert!(top.contains("sleep 1000"), "{top}");
}

#[test]
fn vm_podman_a_tmpfs_begins_with_what_the_image_has() {
    for kind in KINDS {
        // podman asks for `tmpcopyup`, an option of runc's that crun has, too.
        let script =
            "cat /tmp/of-the-image; echo new > /tmp/new && grep -c ' /tmp tmpfs ' /proc/mounts";
        let said = busybox(&[kind, &["--tmpfs=/tmp"]].concat(), &["sh", "-c", script]);
        assert_eq!(said.ok(), "of the image1", "{kind:?}");
    }
}

#[test]
fn vm_podman_volumes() {
    let host = TempDir::new("volume");
    fs::write(host.0.join("file"), "of the host").expect("write a file");
    for kind in KINDS {
        let volume = format!("--volume={}:/tmp", host.str());
        let script = "cat /tmp/file; echo new > /tmp/new";
        let said = busybox(&[kind, &[&volume]].concat(), &["sh", "-c", script]).ok();
        assert_eq!(said, "of the host", "{kind:?}");
        assert_eq!(fs::read_to_string(host.0.join("new")).expect("the new file"), "new\n");
        fs::remove_file(host.0.join("new")).expect("remove a file");
    }
}

#[test]
fn vm_podman_a_read_only_root() {
    let container = Container::run(&["--read-only"]);
    assert!(root_of(container.pid()).has("ro"));
    if runtime().starts_with("sharedroot") {
        // podman writes into the upper directory before it creates; that lies above the base.
        let other = Container::run(&["--read-only"]);
        let [first, second] = [&container, &other].map(|container| {
            let root = root_of(container.pid());
            assert!(root.fstype == "overlay", "{root:?}");
            let lowest = root.super_options.rsplit(',').find_map(|o| o.strip_prefix("lowerdir+="));
            lowest.unwrap_or_else(|| panic!("no layers: {root:?}")).to_owned()
        });
        assert!(first.starts_with("/run/sharedroot/base/"), "{first}");
        assert_eq!(first, second, "both have the image's base");
        assert_eq!(record(&container.inspect(".Id"))["rootfs"]["kind"], "shared");
    }
}

#[test]
fn vm_podman_what_a_writable_root_holds_stays() {
    let container = Container::run(&[]);
    if runtime().starts_with("sharedroot") {
        assert_eq!(record(&container.inspect(".Id"))["rootfs"]["kind"], "private");
        assert!(root_of(container.pid()).is_on_dm());
    }
    container.exec(&["sh", "-c", "echo kept > /etc/new; rm /tmp/of-the-image"]).ok();
    for _ in 0..2 {
        podman(&["stop", "--time=5", &container.0]).ok();
        let changes = podman(&["diff", &container.0]).ok();
        assert!(
            changes.contains("A /etc/new") && changes.contains("D /tmp/of-the-image"),
            "{changes}"
        );
        podman(&["start", &container.0]).ok();
        assert_eq!(container.exec(&["cat", "/etc/new"]).ok(), "kept");
        container.exec(&["sh", "-c", "test ! -e /tmp/of-the-image"]).ok();
    }
    container.exec(&["sh", "-c", "echo since > /etc/newer"]).ok();
    // Without --pause podman packs what its own layer has, whatever runs on it.
    podman(&["commit", "--quiet", "--pause", &container.0, "localhost/committed"]).ok();
    let run = ["run", "--rm", "--network=none", "localhost/committed", "cat"];
    assert_eq!(podman(&[&run[..], &["/etc/new", "/etc/newer"]].concat()).ok(), "kept\nsince");
}

/// Its file systems in memory for a systemd in the container have an empty option.
#[test]
fn vm_podman_for_systemd() {
    for kind in KINDS {
        let flags = [kind, &["--systemd=always"]].concat();
        let said = busybox(&flags, &["sh", "-c", "grep -c ' /run tmpfs ' /proc/mounts"]);
        assert_eq!(said.ok(), "1", "{kind:?}");
    }
}
