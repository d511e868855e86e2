//! What Docker limits, and what happens at the limit. Generic: passes with `RUNTIME=runc`, too.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use std::thread;
use std::time::Duration;

use sharedroot_tests::docker::{Container, KINDS, asleep, busybox, docker};
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::wait_for;

#[test]
fn vm_memory_runs_out() {
    for kind in KINDS {
        // A tmpfs of a container is memory of the container. In large pieces: at the limit a program that runs much itself
        // loses its own pages, which are the container's on a private root, and reads them again without an end.
        let flags = [kind, &["--memory=32m", "--memory-swap=32m", "--tmpfs=/tmp"]].concat();
        ended_by_the_memory_limit(&flags, "dd if=/dev/zero of=/tmp/x bs=8M count=25; exit $?");
    }
}

#[test]
fn vm_init_itself_is_killed_by_the_memory_limit() {
    // `tail` of a stream without newlines keeps all of it.
    let flags = ["--read-only", "--memory=32m", "--memory-swap=32m", "--tmpfs=/tmp"];
    ended_by_the_memory_limit(&flags, "exec tail /dev/zero");
}

/// The script begins after the container's start has returned: containerd's shim watches the cgroup from then on, and hears
/// nothing of a process that the limit has killed before. It tells of the limit in an event of its own, which can come after
/// that of the exit. On a busy machine the watch of containerd's own shim begins too late even so, now and then: three containers
/// in turn, of which one must be told.
#[track_caller]
fn ended_by_the_memory_limit(flags: &[&str], script: &str) {
    let is_told = (0..3).any(|_| is_told_of_the_memory_limit(flags, script));
    assert!(is_told, "Docker does not tell that the memory limit ended {flags:?}");
}

#[track_caller]
fn is_told_of_the_memory_limit(flags: &[&str], script: &str) -> bool {
    let script = format!("until [ -e /tmp/go ]; do usleep 10000; done; {script}");
    let container = Container::generic(&[flags, &["busybox", "sh", "-c", &script]].concat());
    container.exec(&["touch", "/tmp/go"]);
    container.becomes("exited");
    assert_eq!(container.inspect(".State.ExitCode"), "137", "{flags:?}");
    (0..100).any(|_| {
        thread::sleep(Duration::from_millis(100));
        container.inspect(".State.OOMKilled") == "true"
    })
}

#[test]
fn vm_processes_are_counted() {
    for kind in KINDS {
        let script = "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done; echo all";
        let refused = busybox(&[kind, &["--pids-limit=5"]].concat(), script);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(refused.status != 0 && said.contains("fork"), "{kind:?}: {refused}");
    }
    assert_eq!(busybox(&["--pids-limit=-1"], "cat /sys/fs/cgroup/pids.max").ok(), "max");
}

#[test]
fn vm_every_limit_is_in_the_cgroup() {
    let container = asleep(&[
        "--read-only",
        "--memory=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--pids-limit=77",
        "--oom-score-adj=300",
    ]);
    let pid = container.pid();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "77"),
    ] {
        assert_eq!(cgroup_file(pid, file), value, "{file}");
    }
    // Which weight belongs to 512 shares depends on the formula; all of them halve the default in some way.
    let weight: u32 = cgroup_file(pid, "cpu.weight").parse().expect("a number");
    assert!((19..100).contains(&weight), "cpu.weight {weight} for half of the default's shares");
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score");
    assert_eq!(score.trim(), "300");

    container.with_flags("update", &["--cpus=0.25", "--memory=48m", "--memory-swap=48m"]).ok();
    assert_eq!(cgroup_file(pid, "cpu.max"), "25000 100000");
    assert_eq!(cgroup_file(pid, "memory.max"), "50331648");
    assert_eq!(cgroup_file(pid, "pids.max"), "77", "what the update does not name stays");
}

#[test]
fn vm_exec_is_inside_of_the_limits() {
    let container = asleep(&["--pids-limit=50", "--ulimit=nofile=100:200", "--ulimit=core=0"]);
    assert_eq!(container.exec(&["cat", "/sys/fs/cgroup/pids.max"]), "50");
    assert_eq!(container.exec(&["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"]), "100\n200\n0");
    assert_eq!(container.exec(&["cat", "/proc/self/cgroup"]), "0::/");
}

#[test]
fn vm_statistics_are_the_cgroups() {
    let container = Container::generic(&[
        "--read-only",
        "--memory=64m",
        "busybox",
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    let said = wait_for("it has used some CPU time", || {
        let format = "--format={{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
        let said = container.with_flags("stats", &["--no-stream", format]).ok();
        // "98.76% 1.2MiB / 64MiB 1"; dashes where the daemon did not get the figures within two seconds.
        let percent: f64 = said.split('%').next()?.trim().parse().ok()?;
        (percent > 1.0).then_some(said)
    });
    let words: Vec<_> = said.split_whitespace().collect();
    assert_eq!((words[3], words[4]), ("64MiB", "1"), "{said}");
}

#[test]
fn vm_a_paused_container_takes_no_time_and_goes_on() {
    let script = "trap 'exit 4' TERM; while :; do :; done";
    let container = Container::generic(&["--read-only", "busybox", "sh", "-c", script]);
    container.call("pause", &[]).ok();
    let used = || {
        let stat = cgroup_file(container.pid(), "cpu.stat");
        let line = stat.lines().find_map(|l| l.strip_prefix("usage_usec ")).expect("usage");
        line.parse::<u64>().expect("a number")
    };
    let before = used();
    thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(used(), before, "time passed in a paused container");
    let refused = container.call("exec", &["true"]);
    assert!(refused.status != 0 && refused.stderr.contains("paused"), "{refused}");
    container.call("unpause", &[]).ok();
    wait_for("it goes on", || (used() > before).then_some(()));
    // A paused container can be stopped and removed, too.
    container.call("pause", &[]).ok();
    container.with_flags("rm", &["--force"]).ok();
    assert_ne!(docker(&["inspect", &container.id]).status, 0);
}
