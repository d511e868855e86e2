//! `hack/test`: everything that must hold.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `steps.rs` | the whole run in order: what is built, what runs where, what is told at the end |
//! | `compile.rs` | the executables of the integration tests |
//! | `step.rs` | a command on this machine |
//! | `program.rs` | integration tests: what each says that it needs, and its executable |
//! | `extra.rs` | what some tests want beside them, made while others run |
//! | `work.rs` | what is still to be done in guests, and what a free slot takes next |
//! | `served.rs` | one guest that runs programs one after another |
//! | `sequences.rs` | jobs of more than one guest: power cuts, bases made twice, suites with a runner of their own |
//! | `job.rs` | what a job was, what came of it, and how long each part took |
//! | `report.rs` | the counts and the longest jobs |
mod compile;
mod extra;
mod job;
mod options;
mod program;
mod report;
mod sequences;
mod served;
mod step;
mod steps;
mod work;

pub use options::{Compile, One, Options};
pub use steps::{run, run_compile, run_one};
