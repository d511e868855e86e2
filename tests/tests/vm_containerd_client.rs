//! containerd's own tests of containers and tasks (`integration/client`), which containerd runs with each shim of its own: what
//! passes with containerd's shim and runc passes with the shim of sharedroot, too.
//!
//! The limit is not a number that begins with 1: two of the tests look for a `sleep 1` of theirs among the guest's processes, and
//! the lab's watch sleeps until shortly before the limit.
//!
//! Guest: --long --with shim --with containerd-client --alone --limit 3000 --takes 200

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::shim::{RUNTIMES, install_program};

/// The tests, built by `hack/containerd.d/build`, and the pattern of those that run.
const SUITE: &str = "/share/containerd";

/// What passes with containerd's own shim only, and why.
const DIFFERS: [(&str, &str); 3] = [
    ("TestShimInCgroup", "the option ShimCgroup is refused"),
    ("TestShimOOMScore", "it gives the option ShimCgroup"),
    ("TestKillContainerDeletedByRunc", "runc deletes no container of sharedroot"),
];

/// The first writes a megabyte through each of a hundred terminals, the second waits for a client on a port that the kernel of the
/// lab lets it have: they take a guest too long with either shim.
const SKIPPED: &str = "TestContainerExecLargeOutputWithTTY|TestBindLowPortNonOpt";

/// The results of the tests by their names: `PASS`, `FAIL` or `SKIP`.
fn run(runtime: &str, layout: &TempDir) -> BTreeMap<String, String> {
    let names = fs::read_to_string(format!("{SUITE}/names")).expect("read the pattern");
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

#[test]
fn vm_containerds_own_tests_pass_as_with_its_own_shim() {
    install_program();
    fs::copy(format!("{SUITE}/client.test"), "/usr/local/bin/client.test").expect("copy the suite");
    let layout = TempDir::new("layout");
    out(&["sh", "-c", &format!("docker save busybox | tar -x -C {}", layout.str())]);
    // The suite has a daemon of its own.
    for daemon in ["dockerd", "containerd"] {
        out(&["pkill", "-x", daemon]);
        wait_for("a daemon has ended", || {
            (Cmd::new("pgrep").args(&["-x", daemon]).run().status != 0).then_some(())
        });
    }
    let [theirs, ours] = RUNTIMES.map(|runtime| run(runtime, &layout));
    let differ = |name: &str| DIFFERS.iter().any(|(known, _)| *known == name);
    for (name, result) in &theirs {
        let same = ours.get(name) == Some(result) || result == "FAIL";
        assert!(same != differ(name), "{name}: {result}, and with ours {:?}", ours.get(name));
    }
}
