//! The quick start, as a new user does it: every command of docs/quick-start.md, in its order, on a machine with the packages'
//! program, Docker as systemd's service, and nothing of ours.
//!
//! Guest: --systemd --kernel-argument lsm=capability --with packages --alone --limit 900

use std::collections::BTreeSet;
use std::fs;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::package::{SHIM, built, later};
use sharedroot_tests::pool::has;

const PAGE: &str = include_str!("../../docs/quick-start.md");

/// What some commands must say.
const SAYS: [(&str, &[&str]); 11] = [
    ("sharedroot doctor || true", &["warning", "sharedroot install docker"]),
    (
        "sharedroot install docker --shim",
        &["+", "\"sharedroot\"", "io.containerd.sharedroot.v2", "reload docker"],
    ),
    ("sharedroot doctor", &["ok       docker"]),
    ("docker exec cache redis-cli ping", &["PONG"]),
    ("docker exec cache head -1 /proc/self/mountinfo", &[" / / ro", "ext4 /dev/dm-"]),
    ("docker exec web cat /srv/site/index.html /etc/mine", &["hello\nmine"]),
    (
        "sharedroot status",
        &["2 shared, 1 private, 0 not shared", "shims     3 of", "redis:latest", "nginx:latest"],
    ),
    ("sharedroot top --once", &["2 shared, 1 private", "redis:latest"]),
    ("sharedroot image list", &["redis:latest", "mounted"]),
    ("journalctl --no-pager --identifier sharedroot --lines 5", &["sharedroot"]),
    ("sharedroot uninstall docker", &["-", "\"sharedroot\"", "restart docker"]),
];

/// The commands of the page: lines of four spaces.
fn commands() -> Vec<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("    ")).collect()
}

/// Docker as its package starts it, with the lab's images and without its network.
fn docker_of_systemd() {
    out(&["sh", "-c", "pkill dockerd; pkill -x containerd; rm -f /etc/containerd/config.toml"]);
    wait_for("the lab's daemons have ended", || {
        out(&["sh", "-c", "pgrep -x 'dockerd|containerd' || true"]).is_empty().then_some(())
    });
    let config = "{\n  \"iptables\": false, \"ip6tables\": false, \"bridge\": \"none\"\n}\n";
    fs::write("/etc/docker/daemon.json", config).expect("write daemon.json");
    out(&["systemctl", "start", "docker"]);
}

/// What Docker, containerd and systemd keep by themselves, and the store, which the package names when it goes.
fn is_theirs(line: &str) -> bool {
    let (_, what) = line.split_once(": ").expect("how it differs, and what");
    let theirs = ["cgroup /sys/fs/cgroup/system.slice", "cgroup /sys/fs/cgroup/user.slice"];
    let files = ["file /run/containerd/", "file /run/docker/"];
    let stores = what.starts_with("file /var/lib/sharedroot/store.db");
    let known = theirs.iter().chain(&files).any(|begin| what.starts_with(begin));
    stores || known && !what.contains("sharedroot")
}

#[test]
fn vm_every_command_of_the_quick_start() {
    only_in_lab();
    fs::remove_file("/usr/local/bin/sharedroot").expect("take the lab's own program away");
    docker_of_systemd();
    let dir = TempDir::new("quick-start");
    let here = |of: &str, name: &str| {
        fs::copy(of, dir.0.join(name)).expect("put the package where the user is");
    };
    let package = built("deb");
    here(&package, "sharedroot_1.deb");
    let before = Census::take();

    let (mut seen, mut installed) = (BTreeSet::new(), 0);
    for command in commands() {
        if command == "hack/package" {
            continue;
        }
        if command.starts_with("apt install") {
            installed += 1;
            if installed == 2 {
                here(&later(&package, &dir), "sharedroot_1.deb");
            }
        }
        if command == "docker exec cache redis-cli ping" {
            // The server needs a moment, which a reader's fingers take.
            let log = || out(&["sh", "-c", "docker logs cache 2>&1"]);
            wait_for("redis listens", || log().contains("Ready to accept").then_some(()));
        }
        let script = format!("cd {} && {command}", dir.str());
        let output =
            Cmd::new("sh").args(&["-ec", &script]).env("DEBIAN_FRONTEND", "noninteractive");
        let output = output.run();
        println!("# {command}\n{output}");
        assert_eq!(output.status, 0, "{command}: {output}");
        let said = format!("{}{}", output.stdout, output.stderr);
        for (_, words) in SAYS.iter().filter(|(of, _)| *of == command) {
            has(&said, words);
            seen.insert(command);
        }
    }
    assert_eq!((installed, seen.len()), (2, SAYS.len()), "{seen:?}");
    before.nothing_left_but(is_theirs);
    for left in ["/usr/bin/sharedroot", SHIM, "/etc/sharedroot", "/run/sharedroot"] {
        assert!(!fs::exists(left).expect("look"), "{left} is left");
    }
    let files = out(&["find", "/var/lib/sharedroot", "-type", "f", "-not", "-name", "store.db*"]);
    assert_eq!(files, "", "the pool was destroyed");
}
