//! The modes in turn, pod by pod: what the machine does beside, and how many pods there are, is the same for all of them.

use sharedroot_bench::{CONTAINER, FLOOR, Floor, Samples, TOTAL};

use crate::mode::Mode;
use crate::pods::{CREATE, DELETE, Pods};

/// Times of every mode, made in the same minutes.
#[derive(Debug, Default)]
pub struct Turns(pub Samples);

impl Turns {
    /// Creates `number` pods of each mode, then deletes them. No mode is always the one after the slowest. The floor, which
    /// leaves no pod behind, has its turn while pods are created.
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

    /// Milliseconds of a pod from nothing to nothing; nothing if the mode had no turn.
    pub fn whole(&self, mode: Mode) -> Option<f64> {
        let median = |operation| self.0.get(mode.name(), operation, TOTAL).map(|t| t.median());
        Some(median(CREATE)? + median(DELETE)?)
    }
}
