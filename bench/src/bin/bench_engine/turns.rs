//! All arms in turn: start, exec and delete.

use sharedroot_bench::Samples;

use crate::arm::Arm;
use crate::client::{CLIENT, Client, DELETE, EXEC, START, Work};

/// Runs the rounds.
pub fn run<C: Client>(client: &C, rounds: usize) -> Samples {
    let mut samples = Samples::default();
    // The first container of an arm makes what stays, as the base of its image.
    for work in [Work::Pause, Work::Sleep] {
        C::ARMS.iter().for_each(|arm| drop(client.delete(client.start(*arm, work).1)));
    }
    // In each group one container stays.
    let groups = C::ARMS.iter().filter(|arm| arm.in_group());
    let stay: Vec<_> = groups.map(|arm| client.start(*arm, Work::Pause).1).collect();
    for round in 0..rounds {
        for arm in order(C::ARMS, round) {
            // What the client takes changes with what else the machine does, as all times do.
            for operation in [START, DELETE] {
                samples.file(CLIENT, operation, &client.version());
            }
            let (clock, container) = client.start(arm, Work::Pause);
            samples.file(arm.name(), START, &clock);
            samples.file(arm.name(), DELETE, &client.delete(container));
        }
        eprintln!("engine: {}: round {} of {rounds}", C::NAME, round + 1);
    }
    let asleep: Vec<_> =
        C::ARMS.iter().map(|arm| (*arm, client.start(*arm, Work::Sleep).1)).collect();
    for _ in 0..rounds {
        for (arm, container) in &asleep {
            samples.file(CLIENT, EXEC, &client.version());
            samples.file(arm.name(), EXEC, &client.exec(container));
        }
    }
    asleep.into_iter().for_each(|(_, container)| drop(client.delete(container)));
    stay.into_iter().for_each(|container| drop(client.delete(container)));
    samples
}

/// The arms in another order each round, so that no arm always follows the slowest one.
pub fn order(arms: &[Arm], round: usize) -> Vec<Arm> {
    let mut arms = arms.to_vec();
    let count = arms.len();
    arms.rotate_left(round % count);
    if round % 2 == 1 {
        arms.reverse();
    }
    arms
}
