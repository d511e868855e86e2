//! Containers with one shim: containerd's own shim groups them by the same annotations, so it is asked first.
//!
//! Guest: --long --with shim --alone --limit 900 --takes 260 --unstable plain

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::{Replaced, TempDir, wait_for};
use sharedroot_tests::shim::{
    IMAGE, RUNTIMES, Rows, Task, begin, beside, ctr, nothing_runs, same, without_containerd,
};

/// The annotations that both shims group by.
const LABEL: &str = "io.containerd.runc.v2.group";
const SANDBOX: &str = "io.kubernetes.cri.sandbox-id";

const OURS: &str = RUNTIMES[1];

/// A running task with annotations.
#[track_caller]
fn annotated(runtime: &str, annotations: &[(&str, &str)]) -> Task {
    let pairs: Vec<_> = annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let words = pairs.iter().flat_map(|pair| ["--annotation", pair]);
    let flags: Vec<_> = ["--read-only", "--null-io"].into_iter().chain(words).collect();
    Task::run(runtime, &flags, &["sleep", "1000"])
}

#[track_caller]
fn grouped(runtime: &str, group: &str) -> Task {
    annotated(runtime, &[(LABEL, group)])
}

fn lives(pid: i32) -> bool {
    fs::exists(format!("/proc/{pid}")).expect("a look")
}

#[track_caller]
fn ends(pid: i32) {
    wait_for(&format!("process {pid} ends"), || (!lives(pid)).then_some(()));
}

/// Ends a task, and removes it.
#[track_caller]
fn remove(task: &Task) {
    ctr(&["task", "kill", "-s", "SIGKILL", &task.0]).ok();
    task.becomes(Some("STOPPED"));
    ctr(&["task", "rm", &task.0]).ok();
}

#[test]
fn vm_an_annotation_says_which_containers_have_one_server() {
    beside(|runtime| {
        let [one, two, other] = ["g1", "g1", "g2"].map(|group| grouped(runtime, group));
        let [first, second] = ["p1", "p1"].map(|pod| annotated(runtime, &[(SANDBOX, pod)]));
        let [alone, also] = [annotated(runtime, &[]), annotated(runtime, &[])];
        let same = |one: &Task, two: &Task| format!("{}", one.server() == two.server());
        vec![
            ("one group".to_owned(), same(&one, &two)),
            ("two groups".to_owned(), same(&one, &other)),
            ("one pod".to_owned(), same(&first, &second)),
            ("a pod and a group".to_owned(), same(&one, &first)),
            ("no annotation".to_owned(), same(&alone, &also)),
            ("exec".to_owned(), two.exec("echo hello; exit 3")),
        ]
    });
}

/// Ours only: containerd's own shim lets the group win, and a group of a pod's name has the pod's server.
#[test]
fn vm_a_pod_keeps_its_server_whatever_else_is_annotated() {
    begin();
    let pod = annotated(OURS, &[(SANDBOX, "p1")]);
    let with_group = annotated(OURS, &[(SANDBOX, "p1"), (LABEL, "g1")]);
    let of_its_name = grouped(OURS, "p1");
    assert_eq!(pod.server(), with_group.server());
    assert_ne!(pod.server(), of_its_name.server());
    // Another namespace of the same containerd.
    let name = unique_name("other");
    let (dir, tar) = (TempDir::new("image"), "image.tar");
    let tar = dir.0.join(tar).display().to_string();
    ctr(&["image", "export", &tar, IMAGE]).ok();
    ctr(&["-n", &name, "image", "import", &tar]).ok();
    let pair = format!("{SANDBOX}=p1");
    let words = ["-n", &name, "run", "-d", "--runtime", OURS, "--null-io", "--annotation", &pair];
    ctr(&[&words[..], &[IMAGE, "c1", "sleep", "1000"]].concat()).ok();
    let list = ctr(&["-n", &name, "task", "ls"]).ok();
    let pid = list.lines().find_map(|line| line.strip_prefix("c1")).expect("the task");
    let pid: i32 = pid.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a pid");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    assert!(!status.contains(&format!("PPid:\t{}\n", pod.server())), "{status}");
    ctr(&["-n", &name, "task", "rm", "--force", "c1"]).ok();
    ctr(&["-n", &name, "container", "rm", "c1"]).ok();
    ctr(&["-n", &name, "image", "rm", IMAGE]).ok();
    // Its content goes later.
    wait_for("the namespace is empty", || {
        (ctr(&["namespace", "rm", &name]).status == 0).then_some(())
    });
}

#[test]
fn vm_the_last_container_ends_the_server_and_no_other_does() {
    beside(|runtime| {
        let tasks = ["g"; 3].map(|group| grouped(runtime, group));
        let server = tasks[0].server();
        let [first, second, third] = &tasks;
        let mut rows = Rows::new();
        // Also the one that started the server.
        for gone in [second, first] {
            remove(gone);
            rows.push(("a removed task".to_owned(), format!("{:?}", gone.status())));
            rows.push(("the last one".to_owned(), format!("{:?}", third.status())));
            rows.push(("its server".to_owned(), format!("{}", third.server() == server)));
            rows.push(("exec".to_owned(), third.exec("echo hello")));
        }
        remove(third);
        ends(server);
        rows
    });
}

#[test]
fn vm_a_create_that_fails_harms_no_other_container() {
    beside(|runtime| {
        let stays = grouped(runtime, "g");
        let server = stays.server();
        let failed = Task::named();
        let pair = format!("{LABEL}=g");
        let words = ["run", "-d", "--runtime", runtime, "--null-io", "--annotation", &pair, IMAGE];
        let status = ctr(&[&words[..], &[&failed.0, "/no/such/program"]].concat()).status;
        let rows = vec![
            ("status".to_owned(), format!("{status} {:?}", failed.status())),
            ("the other".to_owned(), stays.exec("echo hello")),
            ("its server".to_owned(), format!("{}", stays.server() == server)),
        ];
        remove(&stays);
        ends(server);
        rows
    });
}

/// The end of a group's last container and the begin of the next one, at the same time. The server that ends takes no
/// container, and the one that has a container does not end.
#[test]
fn vm_a_container_that_comes_while_the_last_one_goes_is_started() {
    begin();
    let before = Census::take();
    let (mut same, mut last) = (0, grouped(OURS, "g"));
    for _ in 0..12 {
        let old = last.server();
        ctr(&["task", "kill", "-s", "SIGKILL", &last.0]).ok();
        last.becomes(Some("STOPPED"));
        let id = last.0.clone();
        let goes = thread::spawn(move || ctr(&["task", "rm", &id]).ok());
        let next = grouped(OURS, "g");
        goes.join().expect("the other thread");
        assert_eq!(next.exec("echo hello"), "0 hello");
        same += i32::from(next.server() == old);
        last = next;
    }
    println!("{same} of 12 found the old server");
    drop(last);
    nothing_runs();
    before.nothing_left();
}

#[test]
fn vm_many_containers_that_come_at_once_have_one_server() {
    begin();
    let before = Census::take();
    let comers: Vec<_> = (0..6).map(|_| thread::spawn(|| grouped(OURS, "g"))).collect();
    let tasks: Vec<_> = comers.into_iter().map(|of| of.join().expect("a task")).collect();
    let servers: BTreeSet<_> = tasks.iter().map(Task::server).collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
    let goers: Vec<_> = tasks.into_iter().map(|task| thread::spawn(move || drop(task))).collect();
    goers.into_iter().for_each(|of| of.join().expect("a task goes"));
    nothing_runs();
    before.nothing_left();
}

#[test]
fn vm_a_restarted_containerd_finds_every_task_of_the_group() {
    begin();
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        let [stays, ended, other] = ["g"; 3].map(|group| grouped(runtime, group));
        let (pid, server) = (ended.pid(), stays.server());
        without_containerd(|| {
            out(&["kill", "-KILL", &pid.to_string()]);
            ends(pid);
        });
        let rows = vec![
            ("a task that ended".to_owned(), format!("{:?}", ended.status())),
            ("a task".to_owned(), format!("{:?} {}", stays.status(), stays.exec("exit 3"))),
            ("another".to_owned(), format!("{:?} {}", other.status(), other.exec("exit 4"))),
            ("their server".to_owned(), format!("{}", other.server() == server)),
        ];
        // A container that comes now finds the server, too.
        let next = grouped(runtime, "g");
        assert_eq!(next.server(), server);
        drop((stays, ended, other, next));
        ends(server);
        nothing_runs();
        rows
    });
    same(&ours, &theirs);
}

#[test]
fn vm_the_configuration_makes_one_server_for_all_or_for_each() {
    begin();
    let before = Census::take();
    for (group, servers) in [("host", 1), ("container", 3)] {
        let text = format!("[shim]\ngroup = \"{group}\"\n");
        let config = Replaced::with("/etc/sharedroot/config.toml", &text);
        let pod = ["p1"; 2].map(|pod| annotated(OURS, &[(SANDBOX, pod)]));
        let alone = annotated(OURS, &[]);
        let found: BTreeSet<_> = pod.iter().chain([&alone]).map(Task::server).collect();
        assert_eq!(found.len(), servers, "{group}");
        drop(config);
        // Another setting changes nothing for what is there.
        assert_eq!(alone.exec("echo hello"), "0 hello");
    }
    nothing_runs();
    before.nothing_left();
}

/// What a socket made from now on takes: a few messages of a spawner's, instead of some hundred.
struct SmallSockets(String);

impl SmallSockets {
    const FILE: &str = "/proc/sys/net/core/wmem_default";

    fn begin() -> Self {
        let before = fs::read_to_string(Self::FILE).expect("the kernel's setting");
        // The kernel's least.
        fs::write(Self::FILE, "4608").expect("another setting");
        Self(before)
    }
}

impl Drop for SmallSockets {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, &self.0);
    }
}

/// With hundreds of containers and the kernel's own setting the same happens.
#[test]
fn vm_a_spawner_that_is_behind_fails_no_end_of_a_container() {
    const MANY: usize = 24;
    begin();
    let before = Census::take();
    let small = SmallSockets::begin();
    let tasks: Vec<_> = (0..MANY).map(|_| grouped(OURS, "g")).collect();
    drop(small);
    let server = tasks[0].server();
    let spawner = tasks[0].shims().into_iter().find(|pid| *pid != server).expect("a spawner");
    let signal = |name: &str| drop(out(&["kill", name, &spawner.to_string()]));
    let at_once = |words: &[&str]| {
        signal("-STOP");
        thread::scope(|scope| {
            let call = |task: &Task| ctr(&[words, &[&task.0]].concat());
            let calls: Vec<_> = tasks.iter().map(|task| scope.spawn(move || call(task))).collect();
            // All have reached the server, and the socket is full.
            thread::sleep(std::time::Duration::from_secs(8));
            let stopped: Vec<_> = calls.iter().filter(|call| call.is_finished()).collect();
            assert!(stopped.is_empty(), "{} of {words:?} have an answer", stopped.len());
            signal("-CONT");
            calls.into_iter().for_each(|call| drop(call.join().expect("a call").ok()));
        });
    };
    at_once(&["task", "kill", "--all", "-s", "SIGKILL"]);
    tasks.iter().for_each(|task| task.becomes(Some("STOPPED")));
    at_once(&["task", "rm"]);
    assert!(tasks.iter().all(|task| task.status().is_none()));
    drop(tasks);
    ends(server);
    nothing_runs();
    before.nothing_left();
}
