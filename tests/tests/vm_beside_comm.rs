//! An init process whose name is not UTF-8. Any process names itself (`/proc/PID/comm`), and execve(2) cuts the name of a program
//! after 15 bytes, also within a character. Each verb works as runc's does.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sharedroot_tests::beside::{Rows, rows_beside_runc};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// Names itself, and ends with 7 at SIGTERM.
const NAMED: &str =
    r"printf '\377' > /proc/$$/comm; trap 'exit 7' TERM; while :; do sleep 0.1; done";

fn runtime(name: &str) -> Runtime {
    if name == "runc" { Runtime::runc() } else { Runtime::sharedroot() }
}

/// Starts the container, and waits until its init process has its name.
fn named<'r>(runtime: &'r Runtime, bundle: &Bundle) -> (Container<'r>, i32) {
    let container = runtime.start(bundle);
    let pid = container.pid();
    let comm = format!("/proc/{pid}/comm");
    wait_for("its name", || (fs::read(&comm).expect("its name") == b"\xff\n").then_some(()));
    container.traps(15);
    (container, pid)
}

#[test]
fn vm_every_verb_reaches_a_process_with_any_name() {
    only_in_lab();
    rows_beside_runc(|name| {
        let runtime = runtime(name);
        let bundle = Bundle::new(&runtime, &["sh", "-c", NAMED]);
        let (container, pid) = named(&runtime, &bundle);
        let mut rows = Rows::new();
        let mut row = |what: &str, found: String| rows.push((what.to_owned(), found));
        row("state", container.status());
        let said = container.exec(&[], &["echo", "entered"]);
        row("exec", format!("{} {}", said.status, said.stdout));
        let pids = container.cmd("ps", &["--format", "json"]).run().json();
        let is_there = pids.as_array().expect("a list").iter().any(|found| *found == pid);
        row("ps", is_there.to_string());
        let event = container.cmd("events", &["--stats"]).run().json();
        row("events", (event["data"]["pids"]["current"].as_u64() > Some(0)).to_string());
        for (verb, status) in [("pause", "paused"), ("resume", "running")] {
            let said = container.call(verb, &[]);
            row(verb, format!("{} {}", said.status, container.status()));
            assert_eq!(container.status(), status, "{name}: {said}");
        }
        row("update", container.cmd("update", &["--pids-limit", "99"]).run().status.to_string());
        row("delete", (container.call("delete", &[]).status == 0).to_string());
        row("kill", container.call("kill", &["TERM"]).status.to_string());
        container.becomes("stopped");
        row("delete of what has ended", container.call("delete", &[]).status.to_string());
        row("afterwards", container.exists().to_string());
        rows
    });
}

/// A forced `delete` also ends an init process that has left the container's cgroup.
#[test]
fn vm_delete_ends_a_process_with_any_name_outside_of_its_cgroup() {
    only_in_lab();
    rows_beside_runc(|name| {
        let runtime = runtime(name);
        let bundle = Bundle::new(&runtime, &["sh", "-c", NAMED]);
        let (container, pid) = named(&runtime, &bundle);
        fs::write("/sys/fs/cgroup/cgroup.procs", pid.to_string()).expect("move it");
        let said = container.call("delete", &["--force"]);
        let (end, process) = (Instant::now() + Duration::from_secs(5), format!("/proc/{pid}"));
        while Path::new(&process).exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = Path::new(&process).exists();
        if left {
            sharedroot_tests::command::run(&["kill", "-KILL", &pid.to_string()]);
        }
        vec![("delete --force".to_owned(), format!("{} {left}", said.status))]
    });
}
