//! Benchmarks, run by `hack/bench`. This library is what they have in common: the times of many rounds, the floor below them, and the targets they are held
//! against.
//!
//! | file | its story |
//! |---|---|
//! | `clock.rs` | one operation in steps |
//! | `samples.rs` | the steps of many rounds |
//! | `floor.rs`, `clone.rs` | the floor: the system calls of one container in one process |
//! | `disks.rs` | what was read from the disks |
//! | `targets.rs` | a figure, what it must be, and the tables |

mod clock;
mod clone;
pub mod disks;
mod floor;
mod samples;
mod targets;

pub use clock::Clock;
pub use floor::{CONTAINER, FLOOR, Floor, run_if_asked};
pub use samples::{Samples, TOTAL, Times};
pub use targets::{Target, machine, steps_table, targets_json, targets_table};
