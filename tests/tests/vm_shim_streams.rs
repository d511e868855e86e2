//! Streams of containers by our shim beside containerd's own with runc: loggers, files, slow and dead readers, terminals. With
//! SELinux enforcing the server relays, else the processes have containerd's FIFOs.
//!
//! Guest: --long --with shim --alone --limit 900 --takes 190 --unstable plain
//! Guest: --with shim --alone --selinux enforcing --boolean container_use_host_all_caps --limit 1200

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sharedroot_tests::command::{out, unique_path};
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::shim::{IMAGE, RUNTIMES, Task, begin, beside, ctr, told};

/// A logger that is a script, and the URI of `binary://`.
#[track_caller]
fn logger(name: &str, script: &str) -> String {
    let program = format!("/usr/local/bin/logger-{name}");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("write a logger");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    format!("binary://{program}")
}

/// Writes what it gets into files: its variables and words, and the outputs. At the end of both it says so.
const COPIES: &str = "{ env | grep ^CONTAINER_NAMESPACE; echo $1; } > $2.env; exec 5>&-; \
                      cat <&3 > $2.out & cat <&4 > $2.err; wait; echo ended >> $2.env";

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The processes whose command line has the text.
fn processes(pattern: &str) -> String {
    sharedroot_tests::command::Cmd::new("pgrep").args(&["-f", pattern]).run().stdout
}

#[test]
fn vm_a_logger_gets_all_output_before_the_task_is_deleted() {
    let uri = logger("copies", COPIES);
    beside(|runtime| {
        let log = unique_path("log").to_str().expect("text").to_owned();
        let uri = format!("{uri}?word={log}");
        let script = "echo err >&2; seq 30000; exit 3";
        let task = Task::run(runtime, &["--read-only", "--log-uri", &uri], &["sh", "-c", script]);
        task.becomes(Some("STOPPED"));
        let read = |part: &str| fs::read_to_string(format!("{log}{part}")).unwrap_or_default();
        if runtime == RUNTIMES[0] {
            // containerd's own shim sends SIGTERM when it has closed the streams.
            wait_for("all is there", || read(".out").ends_with("\n30000\n").then_some(()));
        }
        let removed = told(&ctr(&["task", "rm", &task.0]), &task);
        let [output, error, said] = [".out", ".err", ".env"].map(read);
        let mut said: Vec<_> = said.lines().collect();
        if runtime == RUNTIMES[1] {
            assert_eq!(said.pop(), Some("ended"), "the logger ends by itself");
        }
        wait_for("no logger is left", || processes("logger-copies").is_empty().then_some(()));
        out(&["sh", "-c", &format!("rm {log}.*")]);
        vec![
            ("rm".to_owned(), removed),
            ("lines".to_owned(), format!("{} {:?}", output.lines().count(), output.lines().last())),
            ("error".to_owned(), error),
            ("variables and words".to_owned(), said.join(" ")),
        ]
    });
}

#[test]
fn vm_a_file_gets_all_output_in_its_order_and_the_container_cannot_cut_it_off() {
    beside(|runtime| {
        let log = unique_path("log").to_str().expect("text").to_owned();
        fs::write(&log, "before\n").expect("write a file");
        let uri = format!("file://{log}");
        let script = "echo a; echo b >&2; echo c; seq 20000; : > /proc/self/fd/1; sleep 1000";
        let task = Task::run(runtime, &["--read-only", "--log-uri", &uri], &["sh", "-c", script]);
        // containerd's own shim copies the outputs by two threads.
        wait_for("all is written", || {
            let found = text(&log);
            ["\nb\n", "\n20000\n"].iter().all(|line| found.contains(line)).then_some(())
        });
        ctr(&["task", "kill", "-s", "SIGKILL", &task.0]).ok();
        task.becomes(Some("STOPPED"));
        ctr(&["task", "rm", &task.0]).ok();
        let found = text(&log);
        fs::remove_file(&log).expect("remove a file");
        let mut words: Vec<_> = found.lines().filter(|line| line.parse::<u32>().is_err()).collect();
        words.sort_unstable();
        vec![
            ("words".to_owned(), words.join(" ")),
            ("lines".to_owned(), found.lines().count().to_string()),
        ]
    });
}

#[test]
fn vm_a_dead_logger_ends_the_output_and_not_the_container() {
    let uri = logger("dies", "exec 5>&-; exit 0");
    beside(|runtime| {
        let script = "trap '' PIPE; sleep 2; echo lost || exit 9; exit 0";
        let flags = ["--read-only", "--log-uri", &uri];
        let task = Task::run(runtime, &flags, &["sh", "-c", script]);
        task.becomes(Some("STOPPED"));
        let removed = ctr(&["task", "rm", &task.0]);
        vec![("status".to_owned(), removed.status.to_string())]
    });
}

#[test]
fn vm_a_logger_that_is_never_ready_holds_up_its_own_exec_only() {
    begin();
    let uri = logger("hangs", "exec sleep 1000").replace("binary:", "binary-v2:");
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let exec = ["task", "exec", "-d", "--exec-id", "e1", "--log-uri", &uri, &task.0, "true"];
    let hangs = Command::new("ctr").args(exec).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let hangs = hangs.expect("start ctr");
    wait_for("the logger runs", || (!processes("^sleep 1000$").is_empty()).then_some(()));
    let began = Instant::now();
    assert_eq!(ctr(&["task", "exec", "--exec-id", "e2", &task.0, "echo", "hello"]).ok(), "hello");
    assert!(ctr(&["task", "metrics", &task.0]).ok().contains("pids.current"));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let ended = hangs.wait_with_output().expect("the end of ctr");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("wait for the logger /usr/local/bin/logger-hangs to be ready"), "{said}");
    assert_eq!(task.status().as_deref(), Some("RUNNING"));
    // The sleep of the container, and no other one.
    assert_eq!(processes("^sleep 1000$").lines().count(), 1);
}

#[test]
fn vm_a_logger_that_outlives_its_output_is_ended_with_the_task() {
    begin();
    let uri = logger(
        "stays",
        "exec 5>&-; trap 'echo term > /tmp/logger-stays; exit 0' TERM; while :; do sleep 0.1; done",
    );
    let _ = fs::remove_file("/tmp/logger-stays");
    let task = Task::run(RUNTIMES[1], &["--read-only", "--log-uri", &uri], &["true"]);
    task.becomes(Some("STOPPED"));
    ctr(&["task", "rm", &task.0]).ok();
    assert_eq!(text("/tmp/logger-stays"), "term\n");
    assert_eq!(processes("logger-stays"), "");
    task.becomes(None);
}

/// `ctr run` of `script`, whose output nobody reads until it is asked for.
fn unread(runtime: &str, task: &Task, script: &str) -> std::process::Child {
    let words =
        ["run", "--rm", "--read-only", "--runtime", runtime, IMAGE, &task.0, "sh", "-c", script];
    Command::new("ctr")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start ctr")
}

#[test]
fn vm_a_reader_that_stops_and_one_that_dies_stop_nobody_else() {
    beside(|runtime| {
        let (slow, dead) = (Task::named(), Task::named());
        let reader = unread(runtime, &slow, "seq 200000; echo done > /dev/null");
        let mut dies = unread(runtime, &dead, "trap '' PIPE; seq 200000 || exit 9");
        slow.becomes(Some("RUNNING"));
        dead.becomes(Some("RUNNING"));
        dies.kill().expect("kill ctr");
        dies.wait().expect("the end of ctr");
        let exec = ctr(&["task", "exec", "--exec-id", "e1", &slow.0, "echo", "beside"]);
        let said = told(&exec, &slow);
        // The process waits for its reader, and then loses nothing.
        let output = reader.wait_with_output().expect("the end of ctr").stdout;
        let lines = output.iter().filter(|byte| **byte == b'\n').count();
        let status = dead.status();
        vec![
            ("exec beside".to_owned(), said),
            ("lines".to_owned(), lines.to_string()),
            ("whose reader died".to_owned(), format!("{status:?}")),
        ]
    });
}

#[test]
fn vm_input_ends_with_the_client() {
    beside(|runtime| {
        let task = Task::run(runtime, &["--read-only"], &["sleep", "1000"]);
        // Not less than the exec needs to begin, or ctr closes the input before the exec is there.
        let exec = "(sleep 3; seq 20000; sleep 1) | ctr task exec --exec-id e1 \"$1\" sh -c 'sha256sum; echo end'";
        let said = out(&["sh", "-c", exec, "sh", &task.0]);
        vec![("exec".to_owned(), said)]
    });
}

#[test]
fn vm_terminals_have_a_size_an_echo_and_an_end() {
    beside(|runtime| {
        let task = Task::run(runtime, &["--read-only"], &["sleep", "1000"]);
        // script(1) gives ctr a terminal, whose size ctr passes on.
        let inner = format!(
            "stty rows 33 cols 77; ctr task exec -t --exec-id e1 {} sh -c 'sleep 1; stty size; tty; exit 5'",
            task.0
        );
        let said = sharedroot_tests::command::Cmd::new("script")
            .args(&["-qec", &inner, "/dev/null"])
            .run();
        vec![("exec".to_owned(), told(&said, &task))]
    });
}
