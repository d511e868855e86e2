//! `hack/bench runtime`: the time and the memory of sharedroot's commands, beside those of crun and runc and beside the system
//! calls that no runtime can leave out. docs/benchmarks.md says what is measured.
//!
//! The arms take turns, round by round, in one mount namespace with the cgroup v2 hierarchy only. A failure panics with
//! its reason, because a benchmark that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `place.rs` | the benchmark's directory, bundles and cgroup |
//! | `runtime.rs` | a runtime and its commands; waiting for a container's end |
//! | `cycles.rs`, `crowd.rs`, `own.rs`, `peaks.rs` | the phases |
//! | `report.rs` | the tables, the targets, the JSON |
mod crowd;
mod cycles;
mod options;
mod own;
mod peaks;
mod place;
mod report;
mod runtime;

use options::{Options, Task};
use sharedroot_bench::run_if_asked;

fn main() {
    if run_if_asked() {
        return;
    }
    let options = Options::parse(std::env::args().skip(1));
    match &options.task {
        Task::Measure => measure(&options),
        Task::Peak { command } => peaks::print_peak_of(command),
    }
}

fn measure(options: &Options) {
    let place = place::Place::new();
    let arms = runtime::Arms::new(&place, options);
    let report = report::Report {
        cycles: cycles::run(&arms, options.rounds),
        floor: cycles::floor(&arms.floor, options.rounds),
        execs: cycles::execs(&arms, options.rounds),
        peaks: peaks::run(&arms),
        own: own::run(&arms, options.rounds),
        crowd: (options.mounts > 0).then(|| crowd::run(&place, &arms, options)),
    };
    print!("{}", report.markdown());
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report.json())).expect("write the JSON");
    }
}
