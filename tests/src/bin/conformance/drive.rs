//! One suite run with one runtime on one machine, from outside of that machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use sharedroot_tests::command::out;

use crate::libtest;
use crate::outcome::{Run, Test};
use crate::place::Place;
use crate::runtime::Runtime;
use crate::suites::Suite;

/// The directories of the executables for a guest, and of the logs.
#[derive(Debug)]
pub struct Dirs<'d> {
    /// Has this program, the test executables, and `validation/`.
    pub share: &'d Path,
    pub logs: &'d Path,
}

impl Dirs<'_> {
    /// Runs the suite. Its output goes to a log, too.
    pub fn run(&self, suite: Suite, place: Place, runtime: &Runtime) -> Run {
        let mut run = Run {
            place: place.name().to_owned(),
            suite: suite.name.to_owned(),
            runtime: runtime.name().to_owned(),
            date: out(&["date", "--utc", "+%F"]),
            versions: vec![],
            tests: vec![],
        };
        let (versions, tests) = self.inside(suite, place, runtime);
        run.versions = versions;
        run.tests = tests;
        for name in suite.executables {
            run.tests.extend(self.in_guest(name, runtime));
        }
        run
    }

    /// Starts this program on that machine, which prints the versions there, and runs the validation suite.
    fn inside(&self, suite: Suite, place: Place, runtime: &Runtime) -> (Vec<String>, Vec<Test>) {
        let name = format!("{}.{}.{}", suite.name, runtime.name(), place.name());
        let json = self.logs.join(format!("{name}.json"));
        let log = self.logs.join(format!("{name}.log"));
        let (share, program) = (text(self.share), self.share.join("conformance"));
        let mut words = vec![text(&program), "inside", suite.name, runtime.name()];
        match place {
            Place::Native => words.push(share),
            Place::Lab => {
                let mut lab = vec!["hack/lab", "run", "--share", share, "--limit", "2400"];
                lab.extend(suite.executables.is_empty().then_some("--no-docker"));
                words.splice(0..0, lab);
            }
        }
        let create = |path: &Path| {
            File::create(path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()))
        };
        let run = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).stdout(create(&json)).stderr(create(&log));
            command.status().unwrap_or_else(|e| panic!("start {}: {e}", words[0]))
        };
        let mut status = run();
        // The guest's kernel broke, according to its log.
        if place == Place::Lab && matches!(status.code(), Some(125)) {
            eprintln!("{name}: the guest broke ({status}), booting once more");
            status = run();
        }
        assert!(status.success(), "{words:?} ended with {status}: see {}", log.display());
        let found = fs::read_to_string(&json).expect("read a file of our own");
        serde_json::from_str(&found).unwrap_or_else(|e| panic!("{}: {e}", json.display()))
    }

    /// Runs a test executable in a guest of its own, as `hack/test` does.
    fn in_guest(&self, name: &str, runtime: &Runtime) -> Vec<Test> {
        let logs = self.logs.join(runtime.name());
        fs::create_dir_all(&logs).expect("make a directory for logs");
        Command::new("hack/xtask")
            .args(["test-program", text(self.share), name, text(&logs)])
            .env("RUNTIME", runtime.name())
            .status()
            .unwrap_or_else(|e| panic!("start hack/xtask: {e}"));
        let log = logs.join(format!("{name}.log"));
        let log = fs::read(&log).unwrap_or_else(|e| panic!("read {}: {e}", log.display()));
        let mut tests = libtest::parse(name, &String::from_utf8_lossy(&log));
        for test in &mut tests {
            test.name = format!("{} ({name})", test.name);
        }
        tests
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
