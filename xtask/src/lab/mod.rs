//! One guest of the lab.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | what a guest can be given, as `hack/lab run` takes it |
//! | `directory.rs` | the directory that a guest shares with its host: settings in, status out |
//! | `guest.rs` | a guest from its boot to its end |
//! | `evidence.rs` | what the kernel of a guest says that has not ended |
//! | `console.rs` | UML's management console, by which the kernel is asked |
//! | `run.rs` | `hack/lab run` |
mod console;
mod directory;
mod evidence;
mod guest;
mod options;
mod run;

pub use directory::{Boot, SLOT, warn_after};
pub use guest::{End, Guest};
pub use options::{GuestOptions, Kernel};
pub use run::{PROGRAM, Run, run};
