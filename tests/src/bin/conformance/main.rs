//! `hack/conformance`: the results of sharedroot, runc and crun with the same suites on the same machine.
//!
//! This program starts the suites from outside, and also runs on the machine itself. It writes docs/conformance.md, and every
//! result to docs/conformance.json, so that a later run can find lost results.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `suites.rs`, `runtime.rs`, `place.rs` | the suites, the runtimes, the machines |
//! | `drive.rs` | one suite run from outside of the machine |
//! | `validation.rs` | the validation suite's programs, on the machine |
//! | `tap.rs`, `libtest.rs` | the output of programs and test executables |
//! | `outcome.rs`, `book.rs`, `table.rs` | results, kept and printed |
mod book;
mod drive;
mod libtest;
mod options;
mod outcome;
mod place;
mod runtime;
mod suites;
mod table;
mod tap;
mod validation;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use book::Book;
use drive::Dirs;
use options::{Options, Task};
use outcome::{Run, Verdict};

/// The text above the tables.
const HEAD: &str = include_str!("head.md");

fn main() -> ExitCode {
    match Task::parse(std::env::args().skip(1)) {
        Task::Inside { suite, runtime, share } => {
            let validation = share.join("validation");
            let versions = place::versions(suite, &runtime, &validation);
            let tests = if suite.executables.is_empty() {
                validation::run_all(&validation, &runtime)
            } else {
                vec![]
            };
            println!("{}", serde_json::to_string(&(versions, tests)).expect("JSON"));
            ExitCode::SUCCESS
        }
        Task::Drive(options) => drive(&options),
    }
}

/// Runs in the repository's directory, where `hack/conformance` starts it.
fn drive(options: &Options) -> ExitCode {
    let dirs = Dirs {
        share: Path::new("target/conformance/share"),
        logs: Path::new("target/conformance/logs"),
    };
    fs::create_dir_all(dirs.logs).expect("make a directory for logs");
    let mut book = Book::open(Path::new("docs/conformance.json"));
    let (mut kept, mut lost) = (0, Vec::new());
    for place in &options.places {
        for suite in options.suites.iter().filter(|suite| suite.runs_at(*place)) {
            for runtime in &options.runtimes {
                let run = dirs.run(*suite, *place, runtime);
                say(&run);
                if let Some(known) = book.known(&run).filter(|_| runtime.is_ours()) {
                    let now = run.lost(known);
                    kept += known.count(Verdict::Passed) - now.len();
                    lost.extend(now);
                }
                if !options.check {
                    book.enter(run);
                    publish(&book);
                }
            }
        }
    }
    if !options.check {
        publish(&book);
    }
    for test in &lost {
        println!("passed before and does not any more: {test}");
    }
    if options.check {
        // The form of a test executable's result, for hack/test.
        let word = if lost.is_empty() { "ok" } else { "FAILED" };
        println!("test result: {word}. {kept} passed; {} failed", lost.len());
    }
    // A check that compared no test is a failure.
    if lost.is_empty() && (kept > 0 || !options.check) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes the table. Called after every run, because a later run may fail, and once without a run.
fn publish(book: &Book) {
    let text = table::markdown(HEAD, book.runs());
    fs::write("docs/conformance.md", text).expect("write docs/conformance.md");
}

fn say(run: &Run) {
    let Run { place, suite, runtime, .. } = run;
    let [passed, failed, skipped] =
        [Verdict::Passed, Verdict::Failed, Verdict::Skipped].map(|verdict| run.count(verdict));
    println!(
        "{place}: {suite} with {runtime}: {passed} passed, {failed} failed, {skipped} skipped"
    );
}
