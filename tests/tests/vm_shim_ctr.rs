//! containerd's shim of ours beside containerd's own with runc, by ctr in one guest: exit codes, what is printed, events, the
//! list of tasks, and what is left.
//!
//! Guest: --with shim --alone --limit 900 --takes 120 --unstable plain

use std::fs;

use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::shim::{
    Events, IMAGE, RUNTIMES, Rows, STATE_ROOT, Task, begin, beside, ctr, install, nothing_runs,
    same, told, without_containerd,
};

/// What `ctr run` says. ctr itself loses output now and then, with either shim, because it cancels its copies before it waits for
/// them. So what it says counts when it says it twice.
#[track_caller]
fn run(runtime: &str, stdin: &str, flags: &[&str], command: &[&str]) -> String {
    let mut before = None;
    for _ in 0..6 {
        let said = Some(run_once(runtime, stdin, flags, command));
        if said == before {
            break;
        }
        before = said;
    }
    before.expect("it ran")
}

#[track_caller]
fn run_once(runtime: &str, stdin: &str, flags: &[&str], command: &[&str]) -> String {
    let task = Task::named();
    let begin = ["run", "--rm", "--runtime", runtime];
    let words = [&begin[..], flags, &[IMAGE, &task.0], command].concat();
    told(&Cmd::new("ctr").args(&words).stdin(stdin).run(), &task)
}

#[test]
fn vm_what_a_program_prints_and_its_status_are_the_same() {
    beside(|runtime| {
        let row = |stdin, flags: &[&str], command: &[&str]| {
            (format!("{flags:?} {command:?}"), run(runtime, stdin, flags, command))
        };
        let read_only: &[&str] = &["--read-only"];
        vec![
            row("", &[], &["sh", "-c", "echo out; echo err >&2; exit 7"]),
            row("", read_only, &["sh", "-c", "echo out; exit 0"]),
            row("", read_only, &["sh", "-c", "kill -9 $$"]),
            // Not until the end of the file: ctr calls CloseIO only if its input ends after Create has answered.
            row("of stdin\n", read_only, &["head", "-n", "1"]),
            row("", read_only, &["sh", "-c", "seq 20000 | sha256sum"]),
            row("", read_only, &["seq", "20000"]),
            row("", &["--null-io"], &["sh", "-c", "echo nobody; exit 3"]),
        ]
    });
}

#[test]
fn vm_a_task_lives_and_ends_with_the_same_events() {
    beside(|runtime| {
        let events = Events::listen();
        let task = Task::run(runtime, &["--read-only"], &["sleep", "1000"]);
        let mut rows = Rows::new();
        let mut row = |what: &str, said: String| rows.push((what.to_owned(), said));
        let id = task.0.as_str();
        row("status", format!("{:?}", task.status()));
        let processes = ctr(&["task", "ps", id]).ok();
        let own = processes.lines().skip(1).filter(|line| !line.is_empty()).count();
        row("processes", format!("{own}"));
        let exec = ["task", "exec", "--exec-id", "e1", id, "sh", "-c", "echo in; exit 3"];
        row("exec", told(&ctr(&exec), &task));
        let again = ctr(&["task", "start", id]);
        row("start again", format!("{}", again.status));
        row("rm of a running task", format!("{}", ctr(&["task", "rm", id]).status));
        row("pause", told(&ctr(&["task", "pause", id]), &task));
        row("paused", format!("{:?}", task.status()));
        row("resume", told(&ctr(&["task", "resume", id]), &task));
        row("kill", told(&ctr(&["task", "kill", "-s", "SIGKILL", id]), &task));
        task.becomes(Some("STOPPED"));
        row("kill again", format!("{}", ctr(&["task", "kill", id]).status));
        row("rm", told(&ctr(&["task", "rm", id]), &task));
        task.becomes(None);
        row("events", format!("{:#?}", events.of(&task, 9)));
        rows
    });
}

#[test]
fn vm_a_start_that_fails_leaves_nothing() {
    beside(|runtime| {
        let task = Task::named();
        let words = ["run", "-d", "--runtime", runtime, IMAGE, &task.0, "/no/such/program"];
        let failed = ctr(&words);
        let names_it = failed.stderr.contains("/no/such/program");
        vec![
            ("no program".to_owned(), format!("{} {names_it}", failed.status)),
            ("task".to_owned(), format!("{:?}", task.status())),
        ]
    });
}

fn sharedroot(words: &[&str]) -> Output {
    Cmd::new("sharedroot").args(&["--root", STATE_ROOT]).args(words).run()
}

#[test]
fn vm_sharedroot_sees_the_container() {
    install();
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let id = task.0.as_str();
    let state = sharedroot(&["state", id]).json();
    assert_eq!((&state["status"], &state["pid"]), (&"running".into(), &task.pid().into()));
    assert!(sharedroot(&["list", "-q"]).ok().lines().any(|line| line == id));
    assert_eq!(sharedroot(&["exec", id, "echo", "hello"]).ok(), "hello");
    let root = root_of(task.pid());
    assert!(root.is_on_dm() && root.fstype == "ext4" && root.has("ro"), "{root:?}");
    let table = fs::read_to_string("/proc/self/mounts").expect("the mount table");
    assert!(!table.contains(id), "a shared container has no mount of the host: {table}");
    // Somebody deletes the container behind containerd's back: its end is told, and the task can be deleted.
    sharedroot(&["delete", "--force", id]).ok();
    task.becomes(Some("STOPPED"));
    ctr(&["task", "rm", id]).ok();
}

#[test]
fn vm_the_shim_is_two_processes_and_the_spawner_has_one_socket() {
    install();
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let shims = task.shims();
    let [server, spawner] = shims[..] else { panic!("{shims:?}") };
    let threads = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").count();
    assert_eq!([server, spawner].map(threads), [1, 1]);
    let mut open: Vec<_> = fs::read_dir(format!("/proc/{spawner}/fd"))
        .expect("descriptors")
        .map(|entry| fs::read_link(entry.expect("an entry").path()).expect("a link"))
        .map(|to| to.to_str().expect("text").split(':').next().expect("a part").to_owned())
        .collect();
    open.sort();
    assert_eq!(open, ["/dev/null", "/dev/null", "/dev/null", "socket"]);
    let init = fs::read_to_string(format!("/proc/{}/status", task.pid())).expect("a status");
    assert!(init.contains(&format!("PPid:\t{server}\n")), "{init}");
}

#[test]
fn vm_another_spawner_takes_the_place_of_a_killed_one() {
    install();
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let [server, spawner] = task.shims()[..] else { panic!("two processes") };
    let signals = |exec: &str| {
        let words = ["grep", "^Sig[BI]", "/proc/self/status"];
        ctr(&[&["task", "exec", "--exec-id", exec, &task.0], &words[..]].concat()).ok()
    };
    let before = signals("before");
    out(&["kill", "-KILL", &spawner.to_string()]);
    wait_for("there is another spawner", || {
        let now = task.shims();
        (now.len() == 2 && now.contains(&server) && !now.contains(&spawner)).then_some(())
    });
    let exec = ctr(&["task", "exec", "--exec-id", "e", &task.0, "echo", "hello"]);
    assert_eq!(exec.ok(), "hello");
    assert_eq!(signals("after"), before, "blocked and ignored signals");
    assert_eq!(task.status().as_deref(), Some("RUNNING"));
}

#[test]
fn vm_a_killed_server_ends_its_container_as_with_containerds_own_shim() {
    beside(|runtime| {
        let events = Events::listen();
        // With streams, ctr would leave its FIFOs.
        let task = Task::run(runtime, &["--read-only", "--null-io"], &["sleep", "1000"]);
        let (pid, server) = (task.pid(), task.server());
        out(&["kill", "-KILL", &server.to_string()]);
        wait_for("the process has ended", || {
            (!fs::exists(format!("/proc/{pid}")).expect("a look")).then_some(())
        });
        task.becomes(None);
        vec![("events".to_owned(), format!("{:#?}", events.of(&task, 4)))]
    });
}

#[test]
fn vm_a_killed_containerd_finds_its_tasks_again() {
    begin();
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        let run = || Task::run(runtime, &["--read-only", "--null-io"], &["sleep", "1000"]);
        let (stays, ends) = (run(), run());
        let (pid, server) = (ends.pid(), stays.server());
        without_containerd(|| {
            out(&["kill", "-KILL", &pid.to_string()]);
            wait_for("the process has ended", || {
                (!fs::exists(format!("/proc/{pid}")).expect("a look")).then_some(())
            });
        });
        let exec = ["task", "exec", "--exec-id", "e1", &stays.0, "sh", "-c", "exit 3"];
        let rows = vec![
            ("a task that ended".to_owned(), format!("{:?}", ends.status())),
            ("a task that runs".to_owned(), format!("{:?}", stays.status())),
            ("exec".to_owned(), format!("{}", ctr(&exec).status)),
            (
                "its shim".to_owned(),
                format!("{}", fs::exists(format!("/proc/{server}")).is_ok_and(|is| is)),
            ),
        ];
        drop((stays, ends));
        nothing_runs();
        rows
    });
    same(&ours, &theirs);
}
