//! Containers that write and end.

use serde::Serialize;
use sharedroot_bench::{Clock, Samples};
use sharedroot_tests::command::out;

use crate::arm::{Arm, BUSYBOX, CALL, in_turn};
use crate::commit::image_of;
use crate::space::Look;

/// A set of containers of one image, and the names of the operations with them.
#[derive(Clone, Copy)]
pub struct Set {
    /// A part of the containers' names.
    name: &'static str,
    pub run: &'static str,
    pub rm: &'static str,
    image: fn(&Arm) -> String,
}

pub const OF_THE_IMAGE: Set =
    Set { name: "shot", run: "run", rm: "rm", image: |_| BUSYBOX.to_owned() };
pub const OF_THE_COMMIT: Set =
    Set { name: "again", run: "run of the commit", rm: "rm of the commit's", image: image_of };
/// The operation `docker run --rm` of the image.
pub const RUN_RM: &str = "run --rm";

/// The containers of one set, and the space that each arm uses.
pub struct Shots {
    set: Set,
    rounds: usize,
    pub looks: Vec<Looks>,
}

/// The figures of one arm.
#[derive(Serialize)]
pub struct Looks {
    before: Look,
    /// The space with the first container of the image, which has ended.
    first: Look,
    all: Look,
    /// The number of containers.
    containers: i64,
}

impl Looks {
    /// The space of each container, except the first, after its end.
    pub fn each(&self) -> Look {
        ((self.all - self.first) / (self.containers - 1)).must_hold("a container that ended", 1)
    }

    /// The additional space of the first container of an image. With sharedroot this is a base.
    pub fn once(&self) -> Look {
        (self.first - self.before) - self.each()
    }
}

impl Shots {
    pub fn run(arms: &[Arm], set: Set, rounds: usize, samples: &mut Samples) -> Self {
        let look = |number: usize| -> Vec<Look> {
            let at = |arm: &Arm| Look::at(arm, &names(arm, set, number), &[]);
            arms.iter().map(at).collect()
        };
        let before = look(0);
        let mut first = Vec::new();
        for round in 0..rounds {
            for arm in in_turn(arms, round) {
                let (name, image) = (arm.name_of(set.name, round), (set.image)(arm));
                let time =
                    settled("docker run", || arm.container(&["run"], &name, &image, "exit 0"));
                samples.file(arm.name, set.run, &time);
            }
            if round == 0 {
                first = look(1);
            }
            eprintln!("cow: {}: {} of {rounds}", set.run, round + 1);
        }
        let looks = before.into_iter().zip(first).zip(look(rounds));
        let looks = looks.map(|((before, first), all)| Looks {
            before,
            first,
            all,
            containers: rounds as i64,
        });
        Self { set, rounds, looks: looks.collect() }
    }

    pub fn remove(&self, arms: &[Arm], samples: &mut Samples) {
        for round in 0..self.rounds {
            for arm in in_turn(arms, round) {
                let name = arm.name_of(self.set.name, round);
                let time = settled("docker rm", || drop(arm.docker(&["rm", &name])));
                samples.file(arm.name, self.set.rm, &time);
            }
        }
    }
}

fn names(arm: &Arm, set: Set, number: usize) -> Vec<String> {
    (0..number).map(|number| arm.name_of(set.name, number)).collect()
}

/// The containers that a commit is made of.
pub fn shot(arm: &Arm, number: usize) -> String {
    arm.name_of(OF_THE_IMAGE.name, number)
}

/// `docker run --rm`: what such a container writes is lost at its end.
pub fn and_remove(arms: &[Arm], rounds: usize, samples: &mut Samples) {
    for round in 0..rounds {
        for arm in in_turn(arms, round) {
            let name = arm.name_of("rm", round);
            let time =
                settled(RUN_RM, || arm.container(&["run", "--rm"], &name, BUSYBOX, "exit 0"));
            samples.file(arm.name, RUN_RM, &time);
            samples.file(arm.name, CALL, &settled(CALL, || drop(arm.docker(&["version"]))));
        }
    }
}

/// Times one step. Writes everything to the disks before, so that earlier writes do not count.
pub fn settled(what: &'static str, act: impl FnOnce()) -> Clock {
    let mut clock = Clock::default();
    out(&["sync"]);
    clock.step(what, act);
    clock
}
