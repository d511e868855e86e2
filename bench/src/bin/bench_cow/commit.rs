//! Images made from containers that wrote.

use serde::Serialize;
use sharedroot_bench::Samples;

use crate::arm::{Arm, in_turn};
use crate::shots::{settled, shot};
use crate::space::Look;

/// The name of the operation.
pub const COMMIT: &str = "commit";

/// The space of the images of each arm.
pub struct Commits {
    pub looks: Vec<Committed>,
}

/// The figures of one arm.
#[derive(Serialize)]
pub struct Committed {
    before: Look,
    after: Look,
    images: i64,
}

impl Committed {
    pub fn each(&self) -> Look {
        ((self.after - self.before) / self.images).must_hold("an image", 1)
    }
}

impl Commits {
    /// Commits every container, because one commit would say little about the time.
    pub fn make(arms: &[Arm], number: usize, samples: &mut Samples) -> Self {
        let look = |names: &dyn Fn(&Arm) -> Vec<String>| -> Vec<Look> {
            arms.iter().map(|arm| Look::at(arm, &[], &names(arm))).collect()
        };
        let before = look(&|_| Vec::new());
        for round in 0..number {
            for arm in in_turn(arms, round) {
                let (container, image) = (shot(arm, round), name(arm, round));
                let time = settled("docker commit", || {
                    drop(arm.docker(&["commit", &container, &image]));
                });
                samples.file(arm.name, COMMIT, &time);
            }
        }
        let after = look(&|arm| (0..number).map(|round| name(arm, round)).collect());
        let looks = before.into_iter().zip(after);
        let looks = looks.map(|(before, after)| Committed { before, after, images: number as i64 });
        Self { looks: looks.collect() }
    }
}

fn name(arm: &Arm, number: usize) -> String {
    arm.name_of("image", number)
}

/// The image for further containers.
pub fn image_of(arm: &Arm) -> String {
    name(arm, 0)
}
