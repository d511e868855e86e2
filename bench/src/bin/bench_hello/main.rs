//! `hack/bench hello`: from `docker run` to a container's first useful work, cold and warm, and what is read for it.
//! docs/hello.md says what is measured.
//!
//! The arms take turns, round by round, in one guest with one Docker. A failure panics with its reason, because a benchmark
//! that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `images.rs` | the images, and the first useful work of each |
//! | `arm.rs` | the ways in which a container has its root |
//! | `hello.rs` | one container, from `docker run` to its first useful work |
//! | `ready.rs` | how the program finds that the work is done |
//! | `rounds.rs` | all arms of one image, cold and warm in turn |
//! | `found.rs` | the results: every container, and figures of many |
//! | `table.rs` | the figures and their targets |
mod arm;
mod found;
mod hello;
mod images;
mod options;
mod ready;
mod rounds;
mod table;

use options::Options;
use serde_json::json;
use sharedroot_bench::{machine, targets_json, targets_table};
use sharedroot_tests::pool::pool;

fn main() {
    sharedroot_tests::lab::only_in_lab();
    let options = Options::parse(std::env::args().skip(1));
    make_pool();
    let mut found = rounds::first_containers(&options);
    for image in &options.images {
        found.hellos.extend(rounds::of(image, &options));
        // Written after each part, so that an interrupted run keeps its results.
        write_json(&options, &found);
    }
    println!("{}", table::times(&found, &options.images));
    println!("{}", table::reads(&found, &options.images));
    print!("{}", targets_table(&table::targets(&found, &options.images)));
}

/// A pool on two disks of its own, so that reads from a base are counted apart from reads of Docker's layers.
fn make_pool() {
    let device = |name| {
        std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}: run it by hack/bench hello"))
    };
    let (data, metadata) = (device("LAB_DATA_DEV"), device("LAB_METADATA_DEV"));
    pool(&["create", "--data-dev", &data, "--metadata-dev", &metadata]).ok();
}

fn write_json(options: &Options, found: &found::Found) {
    let Some(path) = &options.json else { return };
    let whole = json!({
        "machine": machine(),
        "options": {"rounds": options.rounds, "warm": options.warm},
        "first_containers": found.firsts,
        "containers": found.hellos,
        "targets": targets_json(&table::targets(found, &options.images)),
    });
    std::fs::write(path, format!("{whole}\n")).expect("write the JSON");
}
