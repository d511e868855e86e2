//! containerd's own tests of a snapshotter (`snapshots/testsuite`): all pass with the snapshotter of sharedroot, on a pool on loop
//! files and on a pool on devices, as they do with containerd's native snapshotter behind the same proxy.
//!
//! Guest: --no-docker --with snapshotter --with snapshotter-suite --limit 1200 --takes 120
//! Guest: --no-docker --pool device --with snapshotter --with snapshotter-suite --limit 1200

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use sharedroot_tests::census::Census;
use sharedroot_tests::command::Cmd;
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::snapshotter::{SOCKET, Snapshotter, on_devices};

/// How many tests the suite of containerd 1.7.24 has.
const TESTS: usize = 21;

/// The results of the tests by their names: `PASS`, `FAIL` or `SKIP`.
fn run(name: &str, value: &str) -> BTreeMap<String, String> {
    let program = "/usr/local/bin/suite.test";
    fs::copy("/share/suite.test", program)
        .expect("copy it; hack/containerd.d/build-suite makes it");
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

#[test]
fn vm_containerds_tests_of_a_snapshotter_pass() {
    only_in_lab();
    let before = Census::take().of("mount");
    let config = on_devices();
    // The native snapshotter has no pool, so one guest is enough for it.
    if config.is_none() {
        let control = run("REFERENCE", "native");
        assert!(control.values().all(|result| result == "PASS"), "native: {control:#?}");
    }
    let _snapshotter = Snapshotter::start();
    let ours = run("SNAPSHOTTER_SOCKET", SOCKET);
    assert!(ours.values().all(|result| result == "PASS"), "{ours:#?}");
    assert_eq!(Census::take().of("mount"), before, "no mount is left");
}
