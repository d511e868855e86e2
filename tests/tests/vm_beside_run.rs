//! `run` and `exec` in the foreground: signals that are sent to them reach the process in the container. Generic: `RUNTIME=runc`
//! must pass too.
//!
//! Guest: --no-docker

use std::time::Duration;

use sharedroot_tests::attack::targets;
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::runtime::Runtime;

const FOREVER: [&str; 2] = ["sleep", "1000"];
const UNTIL_SIGNAL: &str =
    "trap 'exit 7' TERM; trap 'exit 8' 40; trap 'exit 9' INT; echo ready; sleep 1000 & wait";

/// `command` of the runtime in the background of a shell, which sends `signal` as soon as the process is ready, and ends as the
/// command does. With a shell's job control, or the command would ignore INT.
#[track_caller]
fn signalled(command: &str, signal: &str) -> i32 {
    let script = format!(
        "set -m; out=$(mktemp); {command} > $out & run=$!
         until grep -q ready $out; do sleep 0.1; done
         sleep 0.5 # runc catches signals by a thread that it starts beside the container
         kill -{signal} $run; wait $run; code=$?; rm $out; exit $code"
    );
    Cmd::new("bash").args(&["-c", &script]).limit(Duration::from_secs(60)).run().status
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
            assert_eq!(signalled(&command, signal), status, "{} {signal}", target.kind);
            assert!(!runtime.container(id).exists(), "{} {signal}", target.kind);
        }
    }
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
            assert_eq!(signalled(&command, signal), status, "{} {signal}", target.kind);
            assert_eq!(container.status(), "running", "{} {signal}", target.kind);
        }
    }
}
