//! Phase 1: private roots created and deleted in many rounds. The arms take turns.

use sharedroot_bench::Clock;
use sharedroot_bench::Samples;

use crate::filesystem;
use crate::mounts::drop_caches;
use crate::ours::{Opening, Ours};
use crate::place::Place;
use crate::raw::{Raw, Space};

/// How far a snapshot is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// The snapshot is active.
    Active,
    /// The snapshot is active and mounted.
    Mounted,
}

/// One way to create and delete a snapshot of a base.
pub trait Arm {
    /// The arm's name in the tables.
    fn name(&self) -> &'static str;
    /// The dm name of the arm's pool.
    fn pool(&self) -> String;
    /// Takes the snapshot `number`, and makes it ready.
    fn ready(&mut self, number: usize, until: Ready, clock: &mut Clock);
    /// Deletes what [`ready`](Self::ready) created.
    fn delete(&mut self, number: usize, until: Ready, clock: &mut Clock);
}

/// Times `rounds` rounds. Three rounds before them are not counted, because they fill the caches.
pub fn run(arms: &mut [&mut dyn Arm], rounds: usize) -> Samples {
    let mut samples = Samples::default();
    drop_caches();
    for round in 0..rounds + 3 {
        // The order changes in each round, so that no arm always follows the slowest one.
        arms.reverse();
        for arm in arms.iter_mut() {
            // Writes of the arm before must not count for this arm.
            rustix::fs::sync();
            let (mut ready, mut delete) = (Clock::default(), Clock::default());
            arm.ready(0, Ready::Mounted, &mut ready);
            arm.delete(0, Ready::Mounted, &mut delete);
            if round >= 3 {
                samples.file(arm.name(), "ready", &ready);
                samples.file(arm.name(), "delete", &delete);
            }
        }
    }
    samples
}

/// Runs cycles of one arm, so that strace shows the system calls of one cycle. Failed opens of `/bench/begin` and `/bench/end`
/// mark the beginning and the end in strace's log.
pub fn trace(arm: &str, rounds: usize) {
    let place = Place::new();
    let tree = filesystem::tree(&place);
    let mut arm: Box<dyn Arm> = match arm {
        "raw" => Box::new(Raw::new(&place, "bench-raw", Space::StaysInFile, &tree)),
        "discard" => Box::new(Raw::new(&place, "bench-discard", Space::Returned, &tree)),
        "open" => Box::new(Ours::new(&place, "open", Opening::Once, &tree)),
        "each" => Box::new(Ours::new(&place, "each", Opening::EachTime, &tree)),
        other => panic!("{other}: no such arm to trace"),
    };
    let mark = |name: &str| drop(std::fs::File::open(format!("/bench/{name}")));
    run(&mut [arm.as_mut()], 1);
    mark("begin");
    for _ in 0..rounds {
        arm.ready(0, Ready::Mounted, &mut Clock::default());
        mark("ready");
        arm.delete(0, Ready::Mounted, &mut Clock::default());
        mark("deleted");
    }
    mark("end");
}
