//! dockerd, containerd and a shim that are killed under running containers, one after another: what a user sees of the containers
//! afterwards is what it is with runc, and nothing of them is left at the end.
//!
//! Guest: --alone --limit 1500 --shim long --unstable shim

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, out, run};
use sharedroot_tests::docker::{Container, KINDS};
use sharedroot_tests::kept::nothing_is_kept;
use sharedroot_tests::lab::{only_in_lab, wait_for};

const RUNTIMES: [&str; 2] = ["runc", "sharedroot"];

fn pid_of(program: &str) -> Option<String> {
    run(&["pgrep", "-x", program]).stdout.lines().next().map(str::to_owned)
}

/// Kills a daemon, which is then no more.
#[track_caller]
fn kill(program: &str) {
    let pid = pid_of(program).expect("the daemon runs");
    out(&["kill", "-KILL", &pid]);
    wait_for("the daemon is gone", || {
        (pid_of(program).as_deref() != Some(pid.as_str())).then_some(())
    });
}

/// An orphan, as a daemon is.
fn starts(line: &str, log: &str) {
    out(&["sh", "-c", &format!("setsid {line} >> /var/log/{log} 2>&1 < /dev/null &")]);
}

#[track_caller]
fn dockerd_restarts(flags: &str) {
    kill("dockerd");
    let _ = fs::remove_file("/run/docker.pid");
    let line = format!("dockerd {flags} --containerd /run/containerd/containerd.sock");
    starts(&line, "dockerd.log");
    wait_for("dockerd answers", || (run(&["docker", "version"]).status == 0).then_some(()));
}

#[track_caller]
fn containerd_restarts() {
    kill("containerd");
    starts("containerd", "containerd.log");
    wait_for("containerd answers", || (run(&["ctr", "version"]).status == 0).then_some(()));
}

/// A container of each runtime for each kind of root, runc's first.
struct Pairs(Vec<[Container; 2]>);

impl Pairs {
    #[track_caller]
    fn new() -> Self {
        let script = "trap 'exit 7' TERM; echo first > /v/data; echo said; sleep 1000 & wait";
        let start = |runtime, flags: &[&str]| {
            let words = [flags, &["--volume=/v", "busybox", "sh", "-c", script]].concat();
            Container::run_with(runtime, &words)
        };
        let pairs = KINDS.map(|flags| RUNTIMES.map(|runtime| start(runtime, flags)));
        let pairs = Self(pairs.into());
        for container in pairs.0.iter().flatten() {
            wait_for("it is ready", || {
                container.call("logs", &[]).stdout.contains("said").then_some(())
            });
        }
        pairs
    }

    /// The same of both runtimes.
    #[track_caller]
    fn alike(&self, what: &str, see: impl Fn(&Container) -> Vec<String>) {
        for (pair, kind) in self.0.iter().zip(KINDS) {
            let [theirs, ours] = [&pair[0], &pair[1]].map(&see);
            assert_eq!(ours, theirs, "{what} {kind:?}: ours, runc's");
        }
    }
}

fn line(what: &str, output: &Output) -> String {
    format!("{what}: {} {}", output.status, output.stdout.trim())
}

fn state(container: &Container) -> String {
    container.state(&["Status", "ExitCode", "OOMKilled", "Dead"])
}

/// What a user sees of one that runs, and of its end and its next start.
fn commands(container: &Container) -> Vec<String> {
    let exec = |script: &str| line(script, &container.call("exec", &["sh", "-c", script]));
    let call = |verb: &str, flags: &[&str]| {
        line(verb, &container.with_flags(verb, flags)).replace(&container.id, "ID")
    };
    let mut lines = vec![state(container)];
    lines.push(exec("cat /v/data; exit 3"));
    lines.push(exec("(echo more > /made) 2> /dev/null; cat /made 2> /dev/null"));
    lines.push(exec("stat -c '%a %u' /; mount | grep -c ' / '"));
    lines.push(call("logs", &[]));
    lines.push(call("pause", &[]));
    lines.push(state(container));
    lines.push(call("unpause", &[]));
    lines.push(call("stop", &[]));
    lines.push(state(container));
    lines.push(differences(container));
    lines.push(call("start", &[]));
    lines.push(exec("cat /v/data; cat /made 2> /dev/null"));
    lines.push(state(container));
    lines.push(call("kill", &[]));
    container.becomes("exited");
    lines.push(state(container));
    lines.push(call("start", &[]));
    lines
}

/// `docker diff` without the volume's place, which runc makes in the overlay, and ours in a scaffold.
fn differences(container: &Container) -> String {
    let output = container.call("diff", &[]);
    let mut lines: Vec<_> = output.stdout.lines().filter(|line| *line != "A /v").collect();
    lines.sort_unstable();
    format!("diff: {} {lines:?}", output.status)
}

/// What is of ours and of the kernel; each daemon's own directories are as it leaves them.
fn left(before: &Census) -> String {
    let difference = Census::take().against(before);
    let is_daemons = |line: &&str| {
        let own = ["/run/docker", "/run/containerd"];
        // Where a root that is an overlay is put together; empty, and made once.
        own.iter().any(|dir| line.contains(dir)) || line.ends_with("file /run/sharedroot/snapshot")
    };
    difference.lines().filter(|line| !is_daemons(line)).map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn nothing_is_left(before: &Census, pairs: Pairs) {
    for container in pairs.0.iter().flatten() {
        container.with_flags("rm", &["--force", "--volumes"]).ok();
    }
    drop(pairs);
    nothing_is_kept();
    let end = Instant::now() + Duration::from_secs(30);
    while !left(before).is_empty() && Instant::now() < end {
        sleep(Duration::from_millis(200));
    }
    assert_eq!(left(before), "");
}

/// The shim of a container is its first process's parent. containerd then ends the container by the runtime's `delete --force`.
#[track_caller]
fn kill_shim(container: &Container) {
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()));
    let status = status.expect("its status");
    let parent =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).expect("its name");
    assert!(name.starts_with("containerd-shim"), "{name}");
    out(&["kill", "-KILL", parent]);
    container.becomes("exited");
}

#[test]
fn vm_killed_daemons_leave_what_they_leave_with_runc() {
    only_in_lab();
    // The base and the pool stay.
    drop(Container::run(&["--read-only", "busybox", "true"]));
    let before = Census::take();

    // Without live-restore a daemon that starts ends what it finds running.
    let pairs = Pairs::new();
    dockerd_restarts("");
    let ended = |container: &Container| {
        container.becomes("exited");
        vec![
            state(container),
            line("start", &container.call("start", &[])).replace(&container.id, "ID"),
        ]
    };
    pairs.alike("dockerd", ended);
    nothing_is_left(&before, pairs);

    dockerd_restarts("--live-restore");
    let pairs = Pairs::new();
    dockerd_restarts("--live-restore");
    pairs.alike("dockerd with live-restore", commands);
    containerd_restarts();
    wait_for("dockerd has found containerd", || {
        (run(&["docker", "run", "--rm", "--network=none", "busybox", "true"]).status == 0)
            .then_some(())
    });
    pairs.alike("containerd", commands);
    for container in pairs.0.iter().flatten() {
        kill_shim(container);
    }
    pairs.alike("shim", ended);
    nothing_is_left(&before, pairs);
}
