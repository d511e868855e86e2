//! `install --snapshotter` with the units of `systemd/`, where containerd and Docker are systemd's services: Docker's images move to
//! the snapshotter, a killed or stopped `sharedrootd` comes back by its socket, and `uninstall` leaves the files as they were.
//!
//! Guest: --systemd --no-docker --with snapshotter --alone --limit 600 --takes 60 --unstable plain

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::docker;
use sharedroot_tests::doctor::{doctor, paste};
use sharedroot_tests::documented::json;
use sharedroot_tests::lab::{Replaced, STATE_DIR, TempDir, only_in_lab, wait_for};
use sharedroot_tests::pool::{CONFIG, has};
use sharedroot_tests::shim::ctr;
use sharedroot_tests::snapshotter::{SOCKET, collect, install_program};
use sharedroot_tests::systemd::property;

const CONTAINERD: &str = "/etc/containerd/config.toml";
const DOCKER: &str = "/etc/docker/daemon.json";
/// Docker as an administrator may have it: another key of the same object, and a driver that is named. No bridge in a guest.
const DAEMON: &str = "{
    \"features\": { \"buildkit\": true },
    \"storage-driver\": \"overlay2\",
    \"iptables\": false, \"ip6tables\": false, \"bridge\": \"none\"
}
";
const UNITS: [(&str, &str); 2] = [
    ("sharedrootd.socket", include_str!("../../systemd/sharedrootd.socket")),
    ("sharedrootd.service", include_str!("../../systemd/sharedrootd.service")),
];
const IMAGE: &str = "localhost/moved";

/// `sharedroot VERB ENGINE WORDS…`, which must succeed.
#[track_caller]
fn sharedroot(words: &[&str]) -> String {
    Cmd::new("sharedroot").args(words).run().ok()
}

/// Does what the last line of `install` and `uninstall` says.
#[track_caller]
fn follow(said: &str) {
    let command = said.lines().last().and_then(|line| line.strip_prefix("now: "));
    let command = command.unwrap_or_else(|| panic!("no command: {said}"));
    // Why the command is this one stands behind it.
    out(&["sh", "-ec", command.split(" (").next().expect("split yields one")]);
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

#[track_caller]
fn driver() -> String {
    docker(&["info", "--format", "{{.Driver}}"]).ok()
}

/// What a read-only container of sharedroot prints with Docker, and what one prints that runc starts.
#[track_caller]
fn both_run() {
    let run = ["run", "--rm", "--network=none"];
    let flags = [
        "--read-only",
        "--runtime=sharedroot",
        IMAGE,
        "busybox",
        "head",
        "-1",
        "/proc/self/mountinfo",
    ];
    let root = docker(&[&run[..], &flags].concat()).ok();
    assert!(root.contains(" / / ro,") && root.contains(" - ext4 /dev/dm-"), "{root}");
    let writes = [IMAGE, "sh", "-c", "echo new > /new && cat /new"];
    assert_eq!(docker(&[&run[..], &writes].concat()).ok(), "new");
    let name = unique_name("c");
    let grep = "busybox head -1 /proc/self/mountinfo | busybox grep -q ' - ext4 /dev/dm-'";
    let words = ["run", "--rm", "--snapshotter", "sharedroot"];
    ctr(&[&words[..], &[&format!("{IMAGE}:latest"), &name, "sh", "-c", grep]].concat()).ok();
}

/// The units as an administrator installs them, and Docker with an image on overlay2. Returns the image's archive.
#[track_caller]
fn prepared(dir: &TempDir) -> String {
    for (name, text) in UNITS {
        let path = format!("/etc/systemd/system/{name}");
        fs::write(&path, text).expect("write a unit");
    }
    out(&["systemctl", "daemon-reload"]);
    fs::write(DOCKER, DAEMON).expect("write daemon.json");
    out(&["systemctl", "start", "docker"]);
    let (rootfs, tar) = (dir.0.join("rootfs"), format!("{}/rootfs.tar", dir.str()));
    make_rootfs(&rootfs);
    out(&["tar", "-cf", &tar, "-C", rootfs.to_str().expect("ASCII"), "."]);
    docker(&["import", &tar, IMAGE]).ok();
    let saved = format!("{}/saved.tar", dir.str());
    docker(&["save", "--output", &saved, IMAGE]).ok();
    saved
}

#[test]
fn vm_the_snapshotter_is_installed_called_and_uninstalled() {
    only_in_lab();
    let dir = TempDir::new("snapshotter");
    let [containerd, docker_json] = [["install", "containerd"], ["install", "docker"]];
    let with = |words: [&'static str; 2]| [words[0], words[1], "--snapshotter"];
    let saved = prepared(&dir);
    let before = [text(CONTAINERD), text(DOCKER)];
    let refused = Cmd::new("sharedroot").args(&with(docker_json)).run().fails(1);
    has(&refused, &["sharedrootd is in none of /usr/local/sbin, /usr/local/bin"]);
    assert_eq!(text(DOCKER), before[1], "nothing was changed");
    install_program();
    for (name, _) in UNITS {
        out(&["systemd-analyze", "verify", "--man=no", &format!("/etc/systemd/system/{name}")]);
    }

    follow(&sharedroot(&with(containerd)));
    assert_eq!(property("sharedrootd.socket", "UnitFileState"), "enabled");
    let mode = |path: &Path| fs::metadata(path).map(|stat| (stat.mode() & 0o7777, stat.uid()));
    let socket = Path::new(SOCKET);
    assert_eq!(mode(socket).expect("the socket"), (0o600, 0));
    assert_eq!(mode(socket.parent().expect("a directory")).expect("it"), (0o700, 0));
    let plugins = ctr(&["plugins", "ls"]).ok();
    for name in [".snapshotter.v1 sharedroot ", ".grpc.v1 cri ", ".transfer.v1 local "] {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = plugins.lines().map(words).find(|line| line.contains(name));
        assert!(line.is_some_and(|line| line.ends_with(" ok")), "{name}: {plugins}");
    }
    let said = sharedroot(&with(docker_json));
    has(&said, &["`docker save`", "`docker load`", "sharedroot install containerd --snapshotter"]);
    follow(&said);
    assert_eq!(driver(), "sharedroot");
    assert_eq!(docker(&["image", "ls", "--quiet"]).ok(), "", "as the note says");
    docker(&["load", "--input", &saved]).ok();
    ctr(&["image", "import", "--snapshotter", "sharedroot", &saved]).ok();
    both_run();
    it_comes_back();
    a_daemon_that_cannot_start_is_reported();

    docker(&["rmi", IMAGE]).ok();
    ctr(&["image", "rm", "--sync", &format!("{IMAGE}:latest")]).ok();
    collect();
    wait_for("the volumes of the snapshotter are deleted", || {
        (!out(&["sharedroot", "pool", "inspect"]).contains("layer-")).then_some(())
    });
    let said = sharedroot(&["uninstall", "docker"]);
    has(&said, &["remove them before the restart", "now: systemctl restart docker"]);
    let others = sharedroot(&["uninstall", "containerd"]);
    has(&others, &["remove its images and containers before the restart"]);
    assert_eq!([text(CONTAINERD), text(DOCKER)], before, "to the byte");
    assert!(!Path::new(STATE_DIR).join("install.json").exists(), "no receipt is left");
    follow(&others);
    follow(&said);
    assert_eq!(driver(), "overlay2");
    docker(&["image", "inspect", IMAGE]).ok();
    assert!(!ctr(&["plugins", "ls"]).ok().contains("sharedroot"));
    out(&["systemctl", "disable", "--now", "sharedrootd.socket", "sharedrootd.service"]);
    assert!(!socket.exists());
}

/// The daemon has the host's mounts. It ends in two ways, and the next call has an answer each time. A container goes on.
#[track_caller]
fn it_comes_back() {
    const UNIT: &str = "sharedrootd.service";
    let pid = || property(UNIT, "MainPID");
    let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("a process");
    let flags =
        ["--name", "lives", "--network=none", "--runtime=sharedroot", IMAGE, "sleep", "999"];
    docker(&[&["run", "--detach"], &flags[..]].concat()).ok();
    assert_eq!(property(UNIT, "ActiveState"), "active");
    for end in [&["kill", "--signal=KILL", UNIT][..], &["stop", UNIT]] {
        let earlier = pid();
        assert_eq!(mounts(&earlier), mounts("1"), "what it mounts is the host's");
        out(&[&["systemctl"], end].concat());
        both_run();
        assert_eq!(docker(&["exec", "lives", "cat", "/etc/group"]).ok().lines().count(), 2);
        assert_eq!(property(UNIT, "ActiveState"), "active");
        assert!(pid() != earlier && pid() != "0", "{end:?}");
    }
    docker(&["rm", "--force", "lives"]).ok();
}

/// The line of `doctor` about the snapshotter, and its remedy.
#[track_caller]
fn of_doctor() -> (String, Option<String>) {
    let said = doctor(&[]).stdout;
    let line = said.lines().find(|line| line[9..].starts_with("snapshotter "));
    let line = line.unwrap_or_else(|| panic!("no snapshotter: {said}"));
    let remedy = line.split_once("; remedy: ").map(|(_, remedy)| remedy.to_owned());
    (line.to_owned(), remedy)
}

/// `doctor` and `status` start nothing. Where the daemon fails, systemd gives the socket up, and calls fail at once.
#[track_caller]
fn a_daemon_that_cannot_start_is_reported() {
    const UNITS: [&str; 2] = ["sharedrootd.socket", "sharedrootd.service"];
    assert_eq!(of_doctor().0, format!("ok       snapshotter    sharedrootd answers at {SOCKET}"));
    assert!(sharedroot(&["status"]).contains(" volumes of the snapshotter; sharedrootd runs"));
    out(&["systemctl", "stop", UNITS[1]]);
    assert!(of_doctor().0.ends_with("; sharedrootd starts with the next call"));
    let status = json("status", &[]);
    assert_eq!(status["snapshotter"]["daemon"], "waits", "{status}");
    assert!(status["snapshotter"]["volumes"].as_u64().is_some_and(|layers| layers > 0), "{status}");
    assert_eq!(property(UNITS[1], "ActiveState"), "inactive", "a look starts nothing");

    let broken = Replaced::with(CONFIG, "[pool\n");
    drop(UnixStream::connect(SOCKET).expect("systemd listens"));
    wait_for("systemd gives up", || {
        (property(UNITS[0], "Result") == "service-start-limit-hit").then_some(())
    });
    UnixStream::connect(SOCKET).expect_err("nobody listens");
    drop(broken);
    let (line, remedy) = of_doctor();
    assert!(line.starts_with("problem  snapshotter    nobody listens at "), "{line}");
    out(&["systemctl", "reset-failed", UNITS[1]]);
    paste(&remedy.expect("a remedy"));
    assert!(of_doctor().1.is_none());
    both_run();
}
