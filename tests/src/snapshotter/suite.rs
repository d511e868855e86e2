//! containerd's own tests of a snapshotter (`snapshots/testsuite`).

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::{SOCKET, Snapshotter, on_devices};
use crate::census::Census;
use crate::command::Cmd;
use crate::lab::only_in_lab;

/// How many tests the suites of containerd 1.7.24 and of 2.1.9 have.
const TESTS: usize = 21;

/// Runs the tests of the program at `suite` with the snapshotter, and on loop files with containerd's native snapshotter behind the
/// same proxy, too: all pass with both.
#[track_caller]
pub fn all_tests_pass(suite: &str) {
    only_in_lab();
    let program = "/usr/local/bin/suite.test";
    fs::copy(suite, program).expect("copy it; hack/containerd.d/build-suite makes it");
    let before = Census::take().of("mount");
    let config = on_devices();
    // The native snapshotter has no pool, so one guest is enough for it.
    if config.is_none() {
        let control = run(program, "REFERENCE", "native");
        assert!(control.values().all(|result| result == "PASS"), "native: {control:#?}");
    }
    let _snapshotter = Snapshotter::start();
    let ours = run(program, "SNAPSHOTTER_SOCKET", SOCKET);
    assert!(ours.values().all(|result| result == "PASS"), "{ours:#?}");
    assert_eq!(Census::take().of("mount"), before, "no mount is left");
}

/// The results of the tests by their names: `PASS`, `FAIL` or `SKIP`.
#[track_caller]
fn run(program: &str, name: &str, value: &str) -> BTreeMap<String, String> {
    let began = Instant::now();
    let suite = Cmd::new(program).args(&["-test.v", "-test.parallel=4", "-test.timeout=15m"]);
    let output = suite.env(name, value).limit(Duration::from_secs(1000)).run();
    println!("{name}={value}: {:.1} s", began.elapsed().as_secs_f64());
    let results: BTreeMap<_, _> = output.stdout.lines().filter_map(result).collect();
    assert!(results.len() == TESTS, "{output}");
    if results.values().any(|result| result != "PASS") {
        println!("{output}");
    }
    results
}

/// `    --- PASS: TestSnapshotter/Basic (0.70s)`
fn result(line: &str) -> Option<(String, String)> {
    let (result, rest) =
        line.trim_start().strip_prefix("--- ")?.split_once(": TestSnapshotter/")?;
    Some((rest.split(' ').next()?.to_owned(), result.to_owned()))
}
