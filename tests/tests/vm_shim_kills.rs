//! What a SIGKILL ends in a group of containers, and what it does not: the server, the spawner, a helper in each operation, and
//! containerd.
//!
//! Guest: --long --with shim --alone --limit 1200 --takes 300 --unstable plain

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, out};
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::shim::{
    Events, IMAGE, RUNTIMES, Task, begin, beside, ctr, nothing_runs, without_containerd,
};

/// The annotation that both shims group by.
const PAIR: &str = "io.containerd.runc.v2.group=g";

const OURS: &str = RUNTIMES[1];

#[track_caller]
fn grouped(runtime: &str) -> Task {
    let flags = ["--read-only", "--null-io", "--annotation", PAIR];
    Task::run(runtime, &flags, &["sleep", "1000"])
}

fn kill(pid: i32) {
    out(&["kill", "-KILL", &pid.to_string()]);
}

fn lives(pid: i32) -> bool {
    fs::exists(format!("/proc/{pid}")).expect("a look")
}

fn children(of: i32) -> BTreeSet<i32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

/// Whether the process is the server, the spawner or a helper. A container's init process has the same words until it executes
/// its program, and a PID namespace of its own.
fn is_ours(pid: i32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    if namespace(&pid.to_string()) != namespace("self") {
        return false;
    }
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with("containerd-shim-sharedroot-v2\0")
}

/// The spawner, when there is no helper.
#[track_caller]
fn spawner(server: i32) -> i32 {
    wait_for("there is a spawner and no helper", || {
        let found: Vec<_> = children(server).into_iter().filter(|pid| is_ours(*pid)).collect();
        <[i32; 1]>::try_from(found).ok().map(|[pid]| pid)
    })
}

#[test]
fn vm_a_killed_server_ends_its_containers_and_no_others() {
    beside(|runtime| {
        let other = Task::run(runtime, &["--read-only", "--null-io"], &["sleep", "1000"]);
        let events = Events::listen();
        let tasks = [grouped(runtime), grouped(runtime)];
        let pids = tasks.each_ref().map(Task::pid);
        kill(tasks[0].server());
        wait_for("the processes have ended", || {
            (!pids.iter().any(|pid| lives(*pid))).then_some(())
        });
        tasks.iter().for_each(|task| task.becomes(None));
        let told = |task| format!("{:#?}", events.of(task, 4));
        let mut rows = vec![
            ("the first".to_owned(), told(&tasks[0])),
            ("the second".to_owned(), told(&tasks[1])),
            ("another".to_owned(), other.exec("echo hello")),
        ];
        // The socket of the killed server is no obstacle.
        let next = grouped(runtime);
        rows.push(("the next one".to_owned(), next.exec("echo hello")));
        rows
    });
}

#[test]
fn vm_a_killed_spawner_harms_no_container() {
    begin();
    let before = Census::take();
    let tasks = [grouped(OURS), grouped(OURS)];
    let server = tasks[0].server();
    for _ in 0..3 {
        let old = spawner(server);
        kill(old);
        wait_for("there is another one", || (spawner(server) != old).then_some(()));
        for task in &tasks {
            assert_eq!(task.exec("echo hello"), "0 hello");
        }
        drop(grouped(OURS));
    }
    drop(tasks);
    nothing_runs();
    before.nothing_left();
}

/// Kills one helper of a server: the one that comes after `passed` others, some time after it is seen.
struct Hunter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<bool>,
}

impl Hunter {
    fn of(server: i32, passed: usize, after: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut seen = children(server);
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut passed = passed;
            while !stopped.load(Ordering::Relaxed) {
                for pid in children(server) {
                    if !seen.insert(pid) || !is_ours(pid) {
                        continue;
                    }
                    if passed > 0 {
                        passed -= 1;
                        continue;
                    }
                    sleep(after);
                    let pid = Pid::from_raw(pid).expect("a pid");
                    return kill_process(pid, Signal::KILL).is_ok();
                }
            }
            false
        });
        Self { stop, thread }
    }

    /// Whether a helper was killed.
    fn end(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the hunter")
    }
}

/// An operation whose helper is killed.
struct Operation {
    name: &'static str,
    /// The helpers that come before.
    passed: usize,
    begin: fn(&Task),
    act: fn(&Task) -> Output,
}

fn nothing(_: &Task) {}

fn start(id: &str) -> Output {
    let begin = ["run", "-d", "--runtime", OURS, "--read-only", "--null-io", "--annotation", PAIR];
    ctr(&[&begin[..], &[IMAGE, id, "sleep", "1000"]].concat())
}

fn runs(task: &Task) {
    start(&task.0).ok();
}

fn is_paused(task: &Task) {
    runs(task);
    ctr(&["task", "pause", &task.0]).ok();
}

fn has_ended(task: &Task) {
    runs(task);
    ctr(&["task", "kill", "-s", "SIGKILL", &task.0]).ok();
    task.becomes(Some("STOPPED"));
}

fn exec(task: &Task) -> Output {
    ctr(&["task", "exec", "--exec-id", "e", &task.0, "true"])
}

const OPERATIONS: [Operation; 7] = [
    Operation { name: "create", passed: 0, begin: nothing, act: |t| start(&t.0) },
    Operation { name: "start", passed: 1, begin: nothing, act: |t| start(&t.0) },
    Operation { name: "exec", passed: 0, begin: runs, act: exec },
    Operation { name: "pause", passed: 0, begin: runs, act: |t| ctr(&["task", "pause", &t.0]) },
    Operation {
        name: "resume",
        passed: 0,
        begin: is_paused,
        act: |t| ctr(&["task", "resume", &t.0]),
    },
    Operation { name: "kill", passed: 0, begin: runs, act: |t| ctr(&["task", "kill", "-a", &t.0]) },
    Operation { name: "delete", passed: 0, begin: has_ended, act: |t| ctr(&["task", "rm", &t.0]) },
];

#[test]
fn vm_a_killed_helper_ends_its_operation_only() {
    begin();
    let before = Census::take();
    let stays = grouped(OURS);
    let server = stays.server();
    for operation in OPERATIONS {
        let mut told = BTreeSet::new();
        // Until one was killed at its work: how long that takes depends on the machine.
        for after in [0, 10, 20, 40, 5, 15, 30, 60, 80, 100, 120, 150] {
            if after == 5 && told.contains(&true) {
                break;
            }
            let task = Task::named();
            (operation.begin)(&task);
            spawner(server);
            let hunter = Hunter::of(server, operation.passed, Duration::from_millis(after));
            let output = (operation.act)(&task);
            if hunter.end() {
                told.insert(output.stderr.contains("ended by signal 9"));
            }
            assert_eq!(stays.exec("echo hello"), "0 hello", "{}", operation.name);
            // What is left of the container can be removed, and its name can be used again.
            ctr(&["task", "rm", "--force", &task.0]);
            task.becomes(None);
            ctr(&["container", "rm", &task.0]);
            start(&task.0).ok();
            assert_eq!(task.server(), server);
        }
        assert!(told.contains(&true), "{}: no kill was told: {told:?}", operation.name);
    }
    drop(stays);
    nothing_runs();
    before.nothing_left();
}

/// containerd is killed while it makes one container of a group and removes another one.
#[test]
fn vm_a_killed_containerd_leaves_nothing_of_what_it_began() {
    begin();
    let before = Census::take();
    let stays = grouped(OURS);
    let server = stays.server();
    for after in [0, 100, 200, 400, 800] {
        let (comes, goes) = (Task::named(), grouped(OURS));
        let (new, old) = (comes.0.clone(), goes.0.clone());
        let begun = thread::spawn(move || drop(start(&new)));
        let ended = thread::spawn(move || drop(ctr(&["task", "rm", "--force", &old])));
        sleep(Duration::from_millis(after));
        without_containerd(|| [begun, ended].into_iter().for_each(|of| of.join().expect("ctr")));
        assert_eq!(stays.exec("echo hello"), "0 hello", "after {after} ms");
        assert_eq!(stays.server(), server);
        drop((comes, goes));
    }
    drop(stays);
    nothing_runs();
    before.nothing_left();
}
