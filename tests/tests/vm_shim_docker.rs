//! Docker with containerd's shim of ours, beside the shim with runc in one guest: what Docker's commands and events tell, what a
//! killed shim and killed daemons mean, and what is left. Docker's own suites run with the shim by `RUNTIME=shim`.
//!
//! Guest: --with shim --alone --limit 900 --takes 90 --env RUNTIME=shim --unstable plain

use std::fs;

use serde_json::json;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, out, run};
use sharedroot_tests::daemon::Wrapper;
use sharedroot_tests::docker::{Container, KINDS, docker, docker_run};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::shim;

/// Containerd's own shim, which calls runc, and ours.
const RUNTIMES: [&str; 2] = ["runc", "sharedroot"];
/// Nothing forks while a signal comes: User-Mode Linux panics where a fork is cut short by a signal.
const UNTIL_TERM: &str = "trap 'exit 7' TERM; sleep 1000 & echo begun; echo away >&2; wait";

/// What was done, and what was told.
type Rows = Vec<(String, String)>;

/// Does the same with both shims, and compares line by line. Nothing may be left of either.
#[track_caller]
fn beside(work: impl Fn(&str) -> Rows) {
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        // The base and Docker's own directories stay.
        KINDS.iter().for_each(|kind| drop(asleep(runtime, kind)));
        let before = Census::take();
        let rows = work(runtime);
        before.nothing_left();
        rows
    });
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "ours, then that of containerd's own shim");
    }
    assert_eq!(ours.len(), theirs.len());
}

#[track_caller]
fn asleep(runtime: &str, flags: &[&str]) -> Container {
    let container =
        Container::run_with(runtime, &[flags, &["busybox", "sh", "-c", UNTIL_TERM]].concat());
    has_begun(&container, 1);
    container
}

/// Waits until the container's program has set its trap so many times.
#[track_caller]
fn has_begun(container: &Container, times: usize) {
    wait_for("the trap is set", || {
        (container.call("logs", &[]).stdout.matches("begun").count() == times).then_some(())
    });
}

fn told(output: &Output, container: &Container) -> String {
    let text = format!("{}: {}{}", output.status, output.stdout, output.stderr);
    text.replace(&container.id, "ID")
}

/// The last part of a message, because the words before it are each runtime's own.
fn reason(said: &str) -> String {
    let said = said.trim().trim_end_matches(": unknown");
    said.rsplit(": ").next().unwrap_or_default().to_owned()
}

/// The events of the container so far: what happened, and the exit code. Without `stop`, which dockerd itself tells before or
/// after the end of the process.
#[track_caller]
fn events(container: &Container, begin: &str) -> Vec<String> {
    let filter = format!("container={}", container.id);
    let format = "{{.Action}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.signal}}";
    let now = out(&["date", "+%s.%N"]);
    let words = ["events", "--since", begin, "--until", &now, "--filter", &filter];
    let said = docker(&[&words[..], &["--format", format]].concat()).ok();
    let lines = said.lines().filter(|line| !line.starts_with("stop "));
    lines.map(|line| line.replace("<no value>", "-")).collect()
}

#[test]
fn vm_a_life_is_told_by_the_same_answers_and_events() {
    beside(|runtime| {
        let mut rows = Rows::new();
        for kind in KINDS {
            let begin = out(&["date", "+%s.%N"]);
            let container = asleep(runtime, kind);
            let mut row = |what: &str, said: String| rows.push((format!("{what} {kind:?}"), said));
            let say = |verb: &str, flags: &[&str], words: &[&str]| {
                let words = [&["docker", verb], flags, &[&container.id], words].concat();
                told(&run(&words), &container)
            };
            row("logs", say("logs", &[], &[]));
            row("exec", say("exec", &[], &["sh", "-c", "echo out; echo err >&2; exit 3"]));
            let nothing = container.call("exec", &["/no/such/program"]);
            row("exec of nothing", format!("{} {}", nothing.status, reason(&nothing.stdout)));
            row("pause", say("pause", &[], &[]));
            row("state", container.inspect(".State.Status"));
            row("unpause", say("unpause", &[], &[]));
            row("update", say("update", &["--pids-limit=77"], &[]));
            row("signal", say("kill", &["--signal=WINCH"], &[]));
            row("stop", say("stop", &[], &[]));
            row("state", container.state(&["Status", "ExitCode", "OOMKilled"]));
            row("start", say("start", &[], &[]));
            has_begun(&container, 2);
            row("restart", say("restart", &[], &[]));
            row("kill", say("kill", &[], &[]));
            row("wait", say("wait", &[], &[]));
            row("events", format!("{:#?}", events(&container, &begin)));
            row("rm", say("rm", &[], &[]));
        }
        rows
    });
}

#[test]
fn vm_a_root_of_dockers_is_shared_or_private() {
    for (kind, wanted) in KINDS.into_iter().zip(["shared", "private"]) {
        let container = asleep("sharedroot", kind);
        let root = root_of(container.pid());
        assert!(root.is_on_dm() && root.fstype == "ext4", "{root:?}");
        assert_eq!(container.record()["rootfs"]["kind"], wanted);
        assert!(shim_of(&container).1.contains("containerd-shim-sharedroot-v2"));
    }
}

/// The process that serves the container, and its command line.
#[track_caller]
fn shim_of(container: &Container) -> (String, String) {
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("status");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    let pid = parent.trim().to_owned();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).expect("a name");
    assert_eq!(name.trim(), "containerd-shim", "as the name of containerd's own shim is cut");
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("a command line");
    (pid, line.replace('\0', " "))
}

#[test]
fn vm_output_comes_whole_and_apart() {
    for flags in [&["--read-only"][..], &["--read-only", "--log-driver=none"]] {
        let script = "seq 30000; seq 30000 | sed s/^/e/ >&2";
        let all = docker_run("sharedroot", &[flags, &["busybox", "sh", "-c", script]].concat());
        let lines = |mark: &str| (1..=30000).map(|n| format!("{mark}{n}\n")).collect::<String>();
        assert!(all.stdout == lines("") && all.stderr == lines("e"), "{}", all.status);
    }
}

#[test]
fn vm_options_that_mean_nothing_are_refused() {
    shim::install_program();
    let runs = |runtime: &str| docker_run(runtime, &["--read-only", "busybox", "echo", "hello"]);
    runs(shim::RUNTIMES[1]).ok();
    let before = Census::take();
    let none = Wrapper::of_shim(&json!({}));
    assert_eq!(runs(&none.name).ok(), "hello");
    drop(none);
    let another = Wrapper::of_shim(&json!({ "ConfigPath": "/etc/other.toml" }));
    let refused = runs(&another.name).fails(125);
    let said = "the option ConfigPath (\"/etc/other.toml\") is not supported: the shim reads \
                /etc/sharedroot/config.toml";
    assert!(refused.contains(said), "{refused}");
    drop(another);
    before.nothing_left();
}

#[test]
fn vm_a_killed_shim_ends_its_container() {
    beside(|runtime| {
        let begin = out(&["date", "+%s.%N"]);
        let container = asleep(runtime, &["--read-only"]);
        out(&["kill", "-KILL", &shim_of(&container).0]);
        container.becomes("exited");
        let state = container.state(&["Status", "ExitCode"]);
        let events = format!("{:#?}", events(&container, &begin));
        let again = told(&container.call("start", &[]), &container);
        vec![
            ("state".to_owned(), state),
            ("events".to_owned(), events),
            ("start".to_owned(), again),
            ("state".to_owned(), container.inspect(".State.Status")),
        ]
    });
}
