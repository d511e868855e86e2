//! containerd's own tests of containers and tasks (`integration/client`), which containerd runs with each shim of its own.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::command::{Cmd, out};
use crate::lab::{TempDir, wait_for};
use crate::shim::{RUNTIMES, install_program};

/// Tests that take a guest too long with either shim: the first writes a megabyte through each of a hundred terminals, the second
/// waits for a client on a port that the kernel of the lab lets it have.
const SKIPPED: &str = "TestContainerExecLargeOutputWithTTY|TestBindLowPortNonOpt";

/// Runs the tests in the directory `suite`, which `hack/containerd.d/build` makes, with containerd's own shim and with ours. What
/// passes with the one passes with the other, except for `differs`: the names of tests, and why.
#[track_caller]
pub fn pass_as_with_containerds_own_shim(suite: &str, differs: &[(&str, &str)]) {
    install_program();
    fs::copy(format!("{suite}/client.test"), "/usr/local/bin/client.test").expect("copy the suite");
    let layout = TempDir::new("layout");
    out(&["sh", "-c", &format!("docker save busybox | tar -x -C {}", layout.str())]);
    // The suite has a daemon of its own.
    for daemon in ["dockerd", "containerd"] {
        out(&["pkill", "-x", daemon]);
        wait_for("a daemon has ended", || {
            (Cmd::new("pgrep").args(&["-x", daemon]).run().status != 0).then_some(())
        });
    }
    let [theirs, ours] = RUNTIMES.map(|runtime| run(suite, runtime, &layout));
    let differ = |name: &str| differs.iter().any(|(known, _)| *known == name);
    for (name, result) in &theirs {
        let same = ours.get(name) == Some(result) || result == "FAIL";
        assert!(same != differ(name), "{name}: {result}, and with ours {:?}", ours.get(name));
    }
}

/// The results of the tests by their names: `PASS`, `FAIL` or `SKIP`.
#[track_caller]
fn run(suite: &str, runtime: &str, layout: &TempDir) -> BTreeMap<String, String> {
    let names = fs::read_to_string(format!("{suite}/names")).expect("read the pattern");
    let words = ["-test.v", "-test.root", "-no-criu", "-test.parallel=4", "-test.timeout=20m"];
    let suite = Cmd::new("/usr/local/bin/client.test").args(&words);
    let suite = suite.args(&["-test.skip", SKIPPED, "-test.run", names.trim()]);
    let suite = suite.env("TEST_RUNTIME", runtime).env("TEST_IMAGE_LAYOUT", layout.str());
    let output = suite.limit(Duration::from_secs(1300)).run();
    let results = output.stdout.lines().filter_map(result);
    let results: BTreeMap<_, _> = results.collect();
    assert!(results.len() > 50, "{runtime}: {output}");
    println!("{runtime}: {results:#?}");
    results
}

/// `--- PASS: TestContainerStart (0.70s)`
fn result(line: &str) -> Option<(String, String)> {
    let (result, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
    Some((rest.split(' ').next()?.to_owned(), result.to_owned()))
}
