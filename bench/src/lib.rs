//! Benchmarks, run by `hack/bench`. This library has their common parts: the times of many rounds, the floor, and the targets.
//!
//! | file | its story |
//! |---|---|
//! | `clock.rs` | one operation in steps |
//! | `samples.rs` | the steps of many rounds |
//! | `floor.rs`, `clone.rs` | the floor: the system calls of one container in one process |
//! | `disks.rs` | reads from and writes to the disks |
//! | `memory.rs` | memory and processes, as `/proc` tells them |
//! | `targets.rs` | figures with their targets, and the tables |

mod clock;
mod clone;
pub mod disks;
mod floor;
pub mod memory;
mod samples;
mod targets;

pub use clock::Clock;
pub use floor::{CONTAINER, FLOOR, Floor, run_if_asked};
pub use samples::{Samples, TOTAL, Times};
pub use targets::{Target, machine, steps_table, targets_json, targets_table};
