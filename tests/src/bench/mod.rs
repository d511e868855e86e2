//! What the benchmarks have in common: the times of many rounds, and the targets they are held against.
//!
//! | file | its story |
//! |---|---|
//! | `clock.rs` | one operation in steps |
//! | `samples.rs` | the steps of many rounds |
//! | `targets.rs` | a figure, what it must be, and the tables |

mod clock;
mod samples;
mod targets;

pub use clock::Clock;
pub use samples::{Samples, TOTAL, Times};
pub use targets::{Target, machine, steps_table, targets_json, targets_table};
