//! `run` and `exec` in the foreground: signals that are sent to them reach the process in the container. Generic: `RUNTIME=runc`
//! must pass too.
//!
//! Guest: --no-docker

use sharedroot_tests::attack::targets;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::lab::RUN_DIR;
use sharedroot_tests::runtime::Runtime;

const FOREVER: [&str; 2] = ["sleep", "1000"];
/// `exec` of runc ends when nobody has its streams any more, also if the process has ended.
const UNTIL_SIGNAL: &str = "trap 'exit 7' TERM; trap 'exit 8' 40; trap 'exit 9' INT
    sleep 1000 > /dev/null 2>&1 & echo ready; wait";

/// `command` of the runtime in the background of a shell, which sends `signal` as soon as the process is ready, and ends as the
/// command does. With a shell's job control, or the command would ignore INT. runc catches signals by a thread that it starts
/// beside the container; ours must have them wait before the process begins.
#[track_caller]
fn signalled(runtime: &Runtime, command: &str, signal: &str) -> i32 {
    let patience = if runtime.is_sharedroot() { "0" } else { "0.5" };
    let script = format!(
        "set -m; out=$(mktemp); {command} > $out & run=$!
         until grep -q ready $out; do sleep 0.1; done; sleep {patience}
         kill -{signal} $run; wait $run; code=$?; rm $out; exit $code"
    );
    Cmd::new("bash").args(&["-c", &script]).run().status
}

const SIGNALS: [(&str, i32); 3] = [("TERM", 7), ("40", 8), ("INT", 9)];

#[test]
fn vm_a_signal_to_run_reaches_the_container() {
    let runtime = Runtime::of_env();
    let (program, root) = (runtime.program(), runtime.root());
    for target in targets(&runtime, &["sh", "-c", UNTIL_SIGNAL], |_| {}) {
        for (signal, status) in SIGNALS {
            let id = unique_name("front");
            let command = format!("{program} --root {root} run --bundle {} {id}", target.str());
            let ended = signalled(&runtime, &command, signal);
            assert_eq!(ended, status, "{} {signal}", target.kind);
            assert!(!runtime.container(id).exists(), "{} {signal}", target.kind);
        }
    }
}

/// Ours alone, whose system calls are known: a signal that comes before `run` and `exec` attend the process. What they note of a
/// start, and tell the journal of an exec, takes its time; strace is nobody's parent, so that the runtime gets the signal.
#[test]
fn vm_sharedroot_loses_no_signal_that_comes_early() {
    let runtime = Runtime::sharedroot();
    let slow = |call: &str| {
        let (program, root) = (runtime.program(), runtime.root());
        format!("strace -D -qq -o /dev/null {call}:delay_exit=1500000 {program} --root {root}")
    };
    let (bundle, id) = (Bundle::new(&runtime, &["sh", "-c", UNTIL_SIGNAL]), unique_name("early"));
    let run = slow(&format!("-P {RUN_DIR}/starts -e inject=openat"));
    let run = format!("{run} run --bundle {} {id}", bundle.str());
    assert_eq!(signalled(&runtime, &run, "TERM"), 7, "run");
    assert!(!runtime.container(id).exists(), "run deletes the container");
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let exec = slow("-e inject=sendto");
    let exec = format!("{exec} exec {} sh -c \"{UNTIL_SIGNAL}\"", container.id);
    assert_eq!(signalled(&runtime, &exec, "TERM"), 7, "exec");
}

#[test]
fn vm_a_signal_to_exec_reaches_its_process_alone() {
    let runtime = Runtime::of_env();
    let (program, root) = (runtime.program(), runtime.root());
    for target in targets(&runtime, &FOREVER, |_| {}) {
        let container = target.start(&runtime);
        for (signal, status) in SIGNALS {
            let command =
                format!("{program} --root {root} exec {} sh -c \"{UNTIL_SIGNAL}\"", container.id);
            let ended = signalled(&runtime, &command, signal);
            assert_eq!(ended, status, "{} {signal}", target.kind);
            assert_eq!(container.status(), "running", "{} {signal}", target.kind);
        }
    }
}
