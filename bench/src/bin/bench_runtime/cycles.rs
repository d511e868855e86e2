//! Phases 1 and 2: a container of `true` from create to delete, and `exec` in a running container. The arms take turns.

use sharedroot_bench::{CONTAINER, Clock, FLOOR, Floor, Samples};

use crate::runtime::{Arms, Runtime, call, wait};

/// Rounds that do not count, before the first one that does. They fill the caches.
const WARM: usize = 3;

/// Times `rounds` rounds of create, start, wait, delete.
pub fn run(arms: &Arms, rounds: usize) -> Samples {
    let mut samples = Samples::default();
    take_turns(arms, rounds, |arm, counts| {
        let clock = container(arm);
        if counts {
            samples.file(arm.name, CONTAINER, &clock);
        }
    });
    samples
}

/// One container of `true`.
pub fn container(arm: &Runtime) -> Clock {
    let mut clock = Clock::default();
    let (create, start, delete) = (arm.create_true(), arm.start(), arm.delete());
    clock.step("create", || call(&create));
    let init = arm.init();
    clock.step("start", || call(&start));
    clock.step("wait", || wait(&init));
    clock.step("delete", || call(&delete));
    clock
}

/// Times `rounds` containers without a runtime.
pub fn floor(floor: &Floor, rounds: usize) -> Samples {
    let mut samples = Samples::default();
    (0..rounds).for_each(|_| samples.file(FLOOR, CONTAINER, &floor.container()));
    samples
}

/// Times `rounds` rounds of `exec` of `true` in a container of `pause`.
pub fn execs(arms: &Arms, rounds: usize) -> Samples {
    let mut samples = Samples::default();
    for arm in &arms.all {
        call(&arm.create_pause());
        call(&arm.start());
    }
    take_turns(arms, rounds, |arm, counts| {
        let (mut clock, exec) = (Clock::default(), arm.exec());
        clock.step("exec", || call(&exec));
        if counts {
            samples.file(arm.name, "exec", &clock);
        }
    });
    arms.all.iter().for_each(Runtime::end);
    samples
}

/// The order changes in each round, so that no arm always follows the slowest one.
fn take_turns(arms: &Arms, rounds: usize, mut turn: impl FnMut(&Runtime, bool)) {
    for round in 0..rounds + WARM {
        let mut order: Vec<&Runtime> = arms.all.iter().collect();
        order.rotate_left(round % arms.all.len());
        if round % 2 == 1 {
            order.reverse();
        }
        order.into_iter().for_each(|arm| turn(arm, round >= WARM));
    }
}
