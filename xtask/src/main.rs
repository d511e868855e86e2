//! The tasks of `hack/` that need more than a short script. `hack/xtask` builds and starts this program.
//!
//! | folder | its story |
//! |---|---|
//! | `lab/` | one guest of the lab: its options, its boot, its end, and whether its kernel broke |
//! | `test/` | `hack/test`: steps on this machine, programs in guests, and the report |
//! | `bench.rs` | `hack/bench`: one benchmark, and the file of its figures |
mod bench;
mod lab;
mod process;
mod processor_time;
mod temporary;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Every task starts in the repository's directory.
#[derive(Parser)]
#[command(bin_name = "hack/xtask", max_term_width = 100)]
enum Task {
    /// Run a script in a fresh guest of the lab
    LabRun(lab::Run),
    /// Run all tests, or those named
    Test(test::Options),
    /// Run one integration test in a guest and leave its log in a directory
    TestProgram(test::One),
    /// Compile the integration tests into a directory
    TestPrograms(test::Compile),
    /// Run a benchmark
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::LabRun(options) => lab::run(&options),
        Task::Test(options) => test::run(options),
        Task::TestProgram(options) => test::run_one(&options),
        Task::TestPrograms(options) => test::run_compile(&options),
        Task::Bench(options) => bench::run(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}
