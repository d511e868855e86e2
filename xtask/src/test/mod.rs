//! `hack/test`: everything that must hold.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `steps.rs` | the steps of a run, in order |
//! | `compile.rs` | the executables of the integration tests |
//! | `step.rs` | a command on this machine |
//! | `program.rs` | integration tests: what each needs of its guest, and its executable |
//! | `extra.rs` | files that some tests need, made while other tests run |
//! | `work.rs` | the remaining work in guests, and what a free slot does next |
//! | `served.rs` | one guest that runs programs one after another |
//! | `sequences.rs` | jobs with more than one guest: power cuts, bases made twice, suites that boot guests themselves |
//! | `memory.rs` | the host's free memory while guests run |
//! | `job.rs` | a job: its name, its result, and how long each part took |
//! | `report.rs` | the counts and the longest jobs |
mod compile;
mod extra;
mod job;
mod memory;
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
