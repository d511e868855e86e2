//! `hack/bench image`: the cost of an image's base, beside `tar -x` of the same layers to ext4 on the same pool.
//! docs/benchmarks.md says what is measured.
//!
//! The arms take turns, round by round, in one guest. A failure panics with its reason, because a benchmark
//! that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `source.rs` | a Docker image, saved, and its layers as tars |
//! | `made.rs` | a base made in two ways, and the tars extracted |
//! | `bundles.rs` | containers as Docker's overlay2 driver prepares them |
//! | `beside.rs` | the cost of a container of an image beside one that does not share |
mod beside;
mod bundles;
mod made;
mod options;
mod source;

use std::fmt::Write;

use made::Made;
use options::{Options, Task};
use serde_json::json;
use sharedroot_bench::{Samples, TOTAL, Target, machine, steps_table, targets_json, targets_table};
use sharedroot_tests::command::out;
use source::Source;

/// The arms, in the order of the columns.
const TAR: &str = "tar -x";
const LAYERS: &str = "base of an engine's layers";
const IMPORT: &str = "image import";

/// The targets: a base may use as much of the pool as the extracted tars, and no more time.
const MOST: f64 = 1.1;
const MOST_MEMORY_KIB: u64 = 300 << 10;

fn main() {
    sharedroot_tests::lab::only_in_lab();
    let options = Options::parse(std::env::args().skip(1));
    match &options.task {
        Task::Measure => measure(&options),
        Task::Peak { command } => made::print_peak_of(command),
    }
}

fn measure(options: &Options) {
    let (mut samples, mut targets, mut peaks) = (Samples::default(), Vec::new(), Vec::new());
    out(&["sharedroot", "pool", "create"]);
    beside::measure(options.rounds, &mut samples, &mut targets);
    for &image in &options.images() {
        let source = Source::saved(image);
        let made = Made::new(&source);
        for _ in 0..options.rounds {
            samples.file(TAR, image, &made.extract());
            samples.file(LAYERS, image, &made.of_layers());
            samples.file(IMPORT, image, &made.import());
        }
        let whole = |arm| samples.get(arm, image, TOTAL).expect("measured").median();
        for arm in [LAYERS, IMPORT] {
            let what = format!("{image}: {arm} / {TAR}");
            targets.push(Target::ratio(what, whole(arm), whole(TAR), MOST, "ms"));
        }
        let (used, files) = made.sizes();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let what = format!("{image}: blocks of the base's volume / of the files");
        targets.push(Target::ratio(what, mib(used), mib(files), MOST, "MiB"));
        for (arm, peak) in made.peaks() {
            let (what, found) = (format!("{image}: peak memory, {arm}"), format!("{peak} KiB"));
            let target = format!("≤ {MOST_MEMORY_KIB} KiB");
            targets.push(Target { what, found, target, met: peak <= MOST_MEMORY_KIB });
            peaks.push(json!({"image": image, "arm": arm, "kib": peak}));
        }
    }
    let mut text = steps_table("ms", &samples);
    write!(text, "\n{}", targets_table(&targets)).expect("a string grows");
    print!("{text}");
    if let Some(path) = &options.json {
        let whole = json!({"machine": machine(), "times": samples.json(), "peaks": peaks,
            "targets": targets_json(&targets)});
        std::fs::write(path, format!("{whole:#}\n")).expect("write the JSON");
    }
}
