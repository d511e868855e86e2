//! `hack/bench dm`: the times, the space and the variation of sharedroot's snapshots, beside the same steps as raw ioctls and
//! beside containerd's devmapper snapshotter. docs/benchmarks.md says what is measured and what the figures of the lab mean.
//!
//! Everything happens in one guest, each arm on a pool of its own, interleaved round by round. A failure panics with its
//! reason, because a benchmark that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `kernel.rs`, `mounts.rs`, `discard.rs` | plain device-mapper ioctls; mounts; BLKDISCARD |
//! | `place.rs`, `filesystem.rs` | loop files and pools; the base's file system |
//! | `raw.rs`, `ours.rs`, `containerd.rs` | the arms |
//! | `cycles.rs`, `growth.rs`, `idle.rs`, `memory.rs` | the phases |
//! | `report.rs` | the table, the targets, the JSON |
mod containerd;
mod cycles;
mod discard;
mod filesystem;
mod growth;
mod idle;
mod kernel;
mod memory;
mod mounts;
mod options;
mod ours;
mod place;
mod raw;
mod report;

use options::{Options, Task};
use raw::Space;

fn main() {
    sharedroot_tests::lab::only_in_lab();
    let options = Options::parse(std::env::args().skip(1));
    match &options.task {
        Task::Measure => measure(&options),
        Task::Peak { state } => memory::print_own_peak(state),
        Task::Trace { arm } => cycles::trace(arm, options.rounds),
    }
}

fn measure(options: &Options) {
    let place = place::Place::new();
    let tree = filesystem::tree(&place);
    let mut raw = raw::Raw::new(&place, "bench-raw", Space::StaysInFile, &tree);
    let mut discarding = raw::Raw::new(&place, "bench-discard", Space::Returned, &tree);
    let mut open = ours::Ours::new(&place, "open", ours::Opening::Once, &tree);
    let mut each = ours::Ours::new(&place, "each", ours::Opening::EachTime, &tree);
    let mut report = report::Report::new();

    if options.containerd {
        let mut containerd = containerd::Containerd::new(&place, &tree);
        report.cycles = cycles::run(
            &mut [&mut raw, &mut discarding, &mut open, &mut each, &mut containerd],
            options.rounds,
        );
        report.ctr = Some(containerd.call_alone(options.rounds));
        containerd.stop();
    } else {
        report.cycles =
            cycles::run(&mut [&mut raw, &mut discarding, &mut open, &mut each], options.rounds);
    }
    if options.snapshots > 0 {
        report.growth = Some(growth::run(&mut raw, &mut open, options.snapshots));
    }
    if options.idle_seconds > 0 {
        report.idle = Some(idle::run(&place, &raw, &tree, options.idle_seconds));
    }
    print!("{}", report.markdown());
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report.json())).expect("write the JSON");
    }
}
