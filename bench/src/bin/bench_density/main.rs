//! `hack/bench density`: many small containers of one image, on roots of ours and on overlay mounts. docs/density.md says
//! what is measured.
//!
//! Memory over the number of pods can only be seen while one mode runs alone, so whole modes follow one another, each with
//! an empty page cache and an inactive pool. Before that, a few pods of all modes are made in turn, for ratios of times. A
//! failure panics with its reason, because a benchmark that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `mode.rs` | the ways in which a pod can have its root |
//! | `pods.rs`, `oci.rs`, `docker.rs` | pods, by the runtime's command line and by Docker |
//! | `run.rs` | one mode, from nothing to all pods and back |
//! | `turns.rs`, `floor.rs` | the modes in turn, for times, and the floor below them |
//! | `look.rs`, `disks.rs`, `pages.rs` | the machine while a number of pods run |
//! | `facts.rs` | the machine of the run |
//! | `table.rs`, `targets.rs` | the figures and their targets |
//! | `bounds.rs` | what fails in the short form |
mod bounds;
mod disks;
mod docker;
mod facts;
mod floor;
mod look;
mod mode;
mod oci;
mod options;
mod pages;
mod pods;
mod run;
mod table;
mod targets;
mod turns;

use docker::Docker;
use mode::Mode;
use oci::{Images, Oci};
use options::{Options, Via};
use pods::Pods;
use run::Run;
use serde_json::json;
use sharedroot_bench::{run_if_asked, steps_table, targets_json, targets_table};
use sharedroot_tests::command::out;
use turns::Turns;

fn main() {
    if run_if_asked() {
        return;
    }
    sharedroot_tests::lab::only_in_lab();
    let options = Options::parse(std::env::args().skip(1));
    make_pool();
    let maker = Maker::new(&options);
    maker.make_bases();
    let turns = maker.in_turns();
    let mut runs = Vec::new();
    for mode in &options.modes {
        runs.push(maker.whole(*mode));
        // Written after each part, so that an interrupted run keeps its results.
        write_json(&options, &turns, &runs);
    }
    println!("{}", table::of(&runs));
    println!("{}", steps_table("ms, the modes in turn", &turns.0));
    print!("{}", targets_table(&targets::of(&runs, &turns)));
    if options.check {
        bounds::check(&runs, &turns);
    }
}

fn write_json(options: &Options, turns: &Turns, runs: &[Run]) {
    let Some(path) = &options.json else { return };
    let whole = json!({
        "machine": facts::of_this_machine(),
        "options": options.json(),
        "turns_milliseconds": turns.0.json(),
        "modes": runs.iter().map(Run::json).collect::<Vec<_>>(),
        "targets": targets_json(&targets::of(runs, turns)),
    });
    std::fs::write(path, format!("{whole}\n")).expect("write the JSON");
}

/// A pool on the two disks of the lab for a pool.
fn make_pool() {
    let device = |name| {
        std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}: run it by hack/bench density"))
    };
    let (data, metadata) = (device("LAB_DATA_DEV"), device("LAB_METADATA_DEV"));
    out(&["sharedroot", "pool", "create", "--data-dev", &data, "--metadata-dev", &metadata]);
}

/// Makes pods of every mode.
struct Maker<'o> {
    options: &'o Options,
    /// The images for pods of the runtime's command line; `None` with Docker.
    images: Option<Images>,
}

impl<'o> Maker<'o> {
    fn new(options: &'o Options) -> Self {
        let images = (options.via == Via::Oci).then(|| Images::new(options));
        Self { options, images }
    }

    fn pods(&self, mode: Mode, number: usize) -> Box<dyn Pods + '_> {
        match &self.images {
            Some(images) => Box::new(Oci::prepare(images, mode, number, self.options)),
            None => Box::new(Docker::new(mode, number, self.options)),
        }
    }

    /// Makes the bases, before any mode is measured.
    fn make_bases(&self) {
        let images = self.options.images;
        let pods = self.pods(Mode::Shared, images);
        (0..images).for_each(|pod| drop(pods.create(pod)));
        (0..images).for_each(|pod| drop(pods.delete(pod)));
    }

    fn in_turns(&self) -> Turns {
        let number = self.options.turns;
        eprintln!("density: {number} pods of each mode in turn");
        let pods = |mode: &Mode| (*mode, self.pods(*mode, number));
        let arms: Vec<_> = self.options.modes.iter().map(pods).collect();
        let (_dir, floor) = floor::prepare(self.options);
        Turns::of(&arms, &floor, number)
    }

    fn whole(&self, mode: Mode) -> Run {
        eprintln!("density: {}: {}", mode.name(), mode.what());
        let Options { pods: number, parallel, .. } = *self.options;
        let pods = self.pods(mode, number);
        forget();
        pods.warm();
        let disks = disks::begin(if self.images.is_some() { "ubde" } else { "ubdb" });
        Run::of(mode, &*pods, number, parallel, &disks)
    }
}

/// Unmounts the bases, writes everything to the disks, and drops the page cache.
fn forget() {
    out(&["sharedroot", "pool", "deactivate"]);
    out(&["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
}
