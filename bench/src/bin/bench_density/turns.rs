//! The modes in turn, pod by pod, so that other work of the machine and the number of pods affect all modes alike.

use sharedroot_bench::{CONTAINER, FLOOR, Floor, Samples, TOTAL};

use crate::mode::Mode;
use crate::pods::{CREATE, DELETE, Pods};

/// The times of every mode, taken in the same minutes.
#[derive(Debug, Default)]
pub struct Turns(pub Samples);

impl Turns {
    /// Creates `number` pods of each mode, and then deletes them. The order changes, so that no mode always follows the slowest
    /// one. The floor, which leaves no pod, takes part while pods are created.
    pub fn of(arms: &[(Mode, Box<dyn Pods + '_>)], floor: &Floor, number: usize) -> Self {
        let mut samples = Samples::default();
        for operation in [CREATE, DELETE] {
            for pod in 0..number {
                let mut order: Vec<_> = arms.iter().collect();
                order.rotate_left(pod % arms.len());
                if pod % 2 == 1 {
                    order.reverse();
                }
                for (mode, pods) in order {
                    let clock =
                        if operation == CREATE { pods.create(pod) } else { pods.delete(pod) };
                    samples.file(mode.name(), operation, &clock);
                }
                if operation == CREATE {
                    samples.file(FLOOR, CONTAINER, &floor.container());
                }
            }
        }
        Self(samples)
    }

    /// The milliseconds of a pod from its creation to its deletion; `None` if the mode took no part.
    pub fn whole(&self, mode: Mode) -> Option<f64> {
        let median = |operation| self.0.get(mode.name(), operation, TOTAL).map(|t| t.median());
        Some(median(CREATE)? + median(DELETE)?)
    }
}
