//! `hack/bench engine`: what a container costs by `ctr`, by Docker and by CRI, with containerd's own shim and runc, and with the
//! shim of sharedroot. docs/containerd-shim.md says what is measured.
//!
//! The arms take turns in one guest. A failure panics with its reason, because a benchmark that goes on after an error measures
//! something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `arm.rs` | the ways in which containerd serves a container |
//! | `client.rs` | what is asked of each client |
//! | `ctr.rs`, `docker.rs`, `cri.rs` | the clients |
//! | `turns.rs` | all arms in turn: start, exec and delete |
//! | `memory.rs` | all arms in turn: the memory of several containers |
//! | `many.rs` | many containers in one server of the shim |
//! | `table.rs` | the tables and the targets |
mod arm;
mod client;
mod cri;
mod ctr;
mod docker;
mod many;
mod memory;
mod options;
mod table;
mod turns;

use client::Client;
use options::{Options, Part};
use serde_json::{Value, json};
use sharedroot_bench::{machine, targets_json, targets_table};
use sharedroot_tests::shim;

fn main() {
    sharedroot_tests::lab::only_in_lab();
    assert!(shim::is_meant(), "the pods of CRI need RUNTIME=shim: run it by hack/bench engine");
    let options = Options::parse(std::env::args().skip(1));
    shim::install_program();
    let found = match options.part {
        Part::Ctr => beside(&ctr::Ctr::new(), &options),
        Part::Docker => beside(&docker::Docker, &options),
        Part::Cri => beside(&cri::Cri::new(), &options),
        Part::Many => many::run(&options),
    };
    if let Some(path) = &options.json {
        let whole = json!({"machine": machine(), "part": options.part.name(), "found": found});
        std::fs::write(path, format!("{whole}\n")).expect("write the JSON");
    }
}

/// One client: its times, and then the memory.
fn beside<C: Client>(client: &C, options: &Options) -> Value {
    let samples = turns::run(client, options.rounds);
    println!("{}", table::times(client, options.rounds, &samples));
    let memory = memory::run(client, options.containers);
    println!("{}", table::memory(client, options.containers, &memory));
    let targets = table::targets(client, &samples, &memory);
    print!("{}", targets_table(&targets));
    json!({"times": samples.json(), "memory": memory, "targets": targets_json(&targets)})
}
