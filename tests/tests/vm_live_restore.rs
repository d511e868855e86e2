//! A Docker daemon that restarts under running containers, as in an upgrade: what Docker's commands show of them afterwards
//! is what it is with runc, and the container's `/` is as it was.
//!
//! Guest: --alone --limit 1500 --shim long

use std::fs;

use sharedroot_tests::command::{Output, out, run};
use sharedroot_tests::docker::Container;
use sharedroot_tests::kept::nothing_is_kept;
use sharedroot_tests::lab::{only_in_lab, wait_for};

/// The daemon that runs now.
fn daemon() -> Option<String> {
    let found = run(&["pgrep", "-x", "dockerd"]);
    found.stdout.lines().next().map(str::to_owned)
}

/// Ends the daemon by `signal`, and starts it with `live-restore`.
#[track_caller]
fn restart(signal: &str) {
    if let Some(pid) = daemon() {
        out(&["kill", signal, &pid]);
        wait_for("the daemon is gone", || daemon().is_none().then_some(()));
    }
    let _ = fs::remove_file("/run/docker.pid");
    // An orphan, as a daemon is.
    let line = "setsid dockerd --live-restore --containerd /run/containerd/containerd.sock \
                >> /var/log/dockerd.log 2>&1 < /dev/null &";
    out(&["sh", "-c", line]);
    wait_for("the daemon answers", || (run(&["docker", "version"]).status == 0).then_some(()));
}

/// `docker diff`, in an order of its own.
fn all_differences(id: &str) -> Output {
    let mut output = run(&["docker", "diff", id]);
    let mut lines: Vec<_> = output.stdout.lines().collect();
    lines.sort_unstable();
    output.stdout = lines.join("\n");
    output
}

/// The same without what Docker puts into each container itself: of a running one it compares times, and a base's files have
/// those of no host.
fn differences(id: &str) -> Output {
    let of_docker = ["/.dockerenv", "/etc/mtab", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    let of_docker = |line: &&str| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        of_docker.contains(&path) || path == "/etc" || path.starts_with("/dev")
    };
    let output = all_differences(id);
    let lines: Vec<_> = output.stdout.lines().filter(|line| !of_docker(line)).collect();
    Output { stdout: lines.join("\n"), ..output }
}

/// What a user sees of the container, by one line for each command.
fn seen(container: &Container) -> Vec<String> {
    let mut lines = Vec::new();
    let mut see = |what: &str, output: Output| {
        let text = output.stdout.replace(&container.id, "ID");
        lines.push(format!("{what}: {} {}", output.status, text.trim()));
    };
    let id = &container.id;
    let file = "/tmp/live-restore";
    see("top", run(&["docker", "exec", id, "stat", "-c", "%a:%u", "/"]));
    see("whiteout", run(&["docker", "exec", id, "mknod", "/gone", "c", "0", "0"]));
    see("moved", run(&["docker", "exec", id, "mv", "/usr/share/menu", "/moved"]));
    see("exec", run(&["docker", "exec", id, "sh", "-c", "echo second >> /data; cat /data"]));
    see("user", run(&["docker", "exec", "-u", "33", id, "cat", "/data"]));
    let _ = fs::remove_file(file);
    see("cp out", run(&["docker", "cp", "--quiet", &format!("{id}:/data"), file]));
    see("is", run(&["cat", file]));
    see("cp in", run(&["docker", "cp", "--quiet", file, &format!("{id}:/copied")]));
    see("has", run(&["docker", "exec", id, "cat", "/copied"]));
    see("diff", differences(id));
    see("pause", run(&["docker", "pause", id]));
    see("unpause", run(&["docker", "unpause", id]));
    let image = format!("committed-{}", &id[..12]);
    let committed = run(&["docker", "commit", id, &image]).status;
    assert_eq!(committed, 0, "commit");
    let words = [
        "docker",
        "run",
        "--rm",
        "--network=none",
        &image,
        "sh",
        "-c",
        "cat /data /copied; ls -d /made /moved /usr/share/menu",
    ];
    see("image", run(&words));
    run(&["docker", "rmi", "--force", &image]);
    see("stop", run(&["docker", "stop", "-t", "0", id]));
    container.is_released();
    see("ended", all_differences(id));
    see("start", run(&["docker", "start", id]));
    see(
        "again",
        run(&["docker", "exec", "-u", "33", id, "sh", "-c", "cat /data /copied; ls -d /made"]),
    );
    see("top again", run(&["docker", "exec", id, "stat", "-c", "%a:%u", "/"]));
    lines
}

#[test]
fn vm_a_daemon_that_restarts_sees_the_root_that_the_container_has() {
    only_in_lab();
    restart("-TERM");
    let script = "echo first > /data; mkdir /made; exec sleep 1000";
    let start = |runtime| Container::run_with(runtime, &["debian", "sh", "-c", script]);
    let (theirs, ours) = (start("runc"), start("sharedroot"));
    for container in [&theirs, &ours] {
        let wrote = || (container.call("exec", &["ls", "/made"]).status == 0).then_some(());
        wait_for("it wrote", wrote);
    }
    // An upgrade, and a crash.
    restart("-TERM");
    restart("-KILL");
    let rootfs = &ours.record()["rootfs"];
    let volume = rootfs["volume"].as_str().unwrap_or_default().to_owned();
    assert!(volume.starts_with("private-"), "{rootfs}");
    assert_eq!(seen(&ours), seen(&theirs));
    drop(ours);
    nothing_is_kept();
}
