//! The task service of our shim beside containerd's own with runc, by ctr in one guest: figures, memory limits, streams of the
//! kinds that containerd knows, terminals, and each call that a client can make.
//!
//! Guest: --with shim --alone --limit 900 --takes 120 --unstable plain

use std::collections::BTreeMap;

use sharedroot_tests::command::Cmd;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::shim::{Events, RUNTIMES, Task, begin, beside, ctr};

/// The figures of `ctr task metrics`, by their names.
#[track_caller]
fn metrics(task: &Task) -> BTreeMap<String, u64> {
    let table = ctr(&["task", "metrics", &task.0]).ok();
    let rows = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [name, value] = words[..] else { return None };
        Some((name.to_owned(), value.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn vm_metrics_are_those_of_the_containers_cgroup() {
    beside(|runtime| {
        let memory = format!("{}", 64 << 20);
        let flags = ["--read-only", "--memory-limit", &memory];
        let script = "dd if=/dev/zero of=/dev/null bs=1M count=200 2> /dev/null; sleep 1000";
        let task = Task::run(runtime, &flags, &["sh", "-c", script]);
        let found = wait_for("the container has used its processor", || {
            let found = metrics(&task);
            (found["cpu.usage_usec"] > 10_000).then_some(found)
        });
        assert!(found["memory.usage"] > 0, "{found:?}");
        let names: Vec<_> = found.keys().cloned().collect();
        let mut rows = vec![
            ("names".to_owned(), names.join(" ")),
            ("memory.usage_limit".to_owned(), found["memory.usage_limit"].to_string()),
        ];
        ctr(&["task", "kill", "-s", "SIGKILL", &task.0]).ok();
        task.becomes(Some("STOPPED"));
        let ended = metrics(&task);
        rows.push(("after the end".to_owned(), format!("{:?}", ended.keys())));
        rows.push(("processes after the end".to_owned(), ended["pids.current"].to_string()));
        rows
    });
}

#[test]
fn vm_a_kill_for_memory_is_told_before_the_end() {
    begin();
    for runtime in RUNTIMES {
        let events = Events::listen();
        let memory = format!("{}", 16 << 20);
        let task = Task::run(
            runtime,
            &["--read-only", "--null-io", "--memory-limit", &memory],
            &["sh", "-c", "tail /dev/zero; echo killed; sleep 1000"],
        );
        // A child is killed, and the init process goes on.
        let told = events.of(&task, 3);
        let topics: Vec<_> = told.iter().map(|event| event.split(' ').next()).collect();
        assert_eq!(topics, [Some("/tasks/create"), Some("/tasks/start"), Some("/tasks/oom")]);
        assert_eq!(task.status().as_deref(), Some("RUNNING"), "{runtime}");
        drop(task);
        let task = Task::run(
            runtime,
            &["--read-only", "--null-io", "--memory-limit", &memory],
            &["tail", "/dev/zero"],
        );
        let mut told = events.of(&task, 4);
        if runtime == RUNTIMES[0] {
            // containerd's own shim hears of both by two threads.
            told[2..].sort();
            told[2..].reverse();
        }
        let end = &told[2..];
        assert!(
            end[0].starts_with("/tasks/oom") && end[1].starts_with("/tasks/exit"),
            "{runtime}: {told:#?}"
        );
        assert!(end[1].contains("status 137"), "{end:#?}");
    }
}

#[test]
fn vm_figures_are_those_of_the_container_that_divided_its_cgroup() {
    begin();
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let pid = task.pid().to_string();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a cgroup");
    let dir = format!("/sys/fs/cgroup{}", cgroup.trim().trim_start_matches("0::"));
    let before = metrics(&task)["pids.current"];
    // As an init system in a container does.
    std::fs::create_dir(format!("{dir}/init.scope")).expect("make a cgroup");
    std::fs::write(format!("{dir}/init.scope/cgroup.procs"), &pid).expect("move the process");
    let beside = Cmd::new("sh").args(&["-c", "echo 0 > $1/cgroup.procs; exec sleep 3", "sh", &dir]);
    let thread = std::thread::spawn(move || beside.run());
    wait_for("both processes count", || {
        (metrics(&task)["pids.current"] == before + 1).then_some(())
    });
    thread.join().expect("the other process");
}
