//! Phase 1: a private rootfs is made ready and taken away, over and over, the arms taking turns.

use sharedroot_bench::Clock;
use sharedroot_bench::Samples;

use crate::filesystem;
use crate::mounts::drop_caches;
use crate::ours::{Opening, Ours};
use crate::place::Place;
use crate::raw::{Raw, Space};

/// One way of making and deleting a mounted snapshot of a base.
pub trait Arm {
    /// What the tables call it.
    fn name(&self) -> &'static str;
    /// The dm name of its pool.
    fn pool(&self) -> String;
    /// Takes snapshot `number`, activates it, and mounts it if asked to.
    fn ready(&mut self, number: usize, mounted: bool, clock: &mut Clock);
    /// Takes away what [`ready`](Self::ready) made.
    fn delete(&mut self, number: usize, mounted: bool, clock: &mut Clock);
}

/// Times `rounds` rounds. Three rounds before them are not counted: they fill caches that every later round finds full.
pub fn run(arms: &mut [&mut dyn Arm], rounds: usize) -> Samples {
    let mut samples = Samples::default();
    drop_caches();
    for round in 0..rounds + 3 {
        // No arm is always the one that comes after the slowest.
        arms.reverse();
        for arm in arms.iter_mut() {
            // What the arm before has left to be written is not this arm's.
            rustix::fs::sync();
            let (mut ready, mut delete) = (Clock::default(), Clock::default());
            arm.ready(0, true, &mut ready);
            arm.delete(0, true, &mut delete);
            if round >= 3 {
                samples.file(arm.name(), "ready", &ready);
                samples.file(arm.name(), "delete", &delete);
            }
        }
    }
    samples
}

/// Cycles of one arm and nothing else, so that strace sees what one cycle costs. Two marks in the log (failed opens of
/// `/bench/begin` and `/bench/end`) enclose them.
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
        arm.ready(0, true, &mut Clock::default());
        mark("ready");
        arm.delete(0, true, &mut Clock::default());
        mark("deleted");
    }
    mark("end");
}
