//! One guest of the lab.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the options of a guest, as `hack/lab run` takes them |
//! | `directory.rs` | the directory that a guest shares with its host |
//! | `guest.rs` | a guest from its boot to its end |
//! | `evidence.rs` | whether the kernel of a guest broke |
//! | `console.rs` | UML's management console, on which the kernel answers |
//! | `run.rs` | `hack/lab run` |
mod console;
mod directory;
mod evidence;
mod guest;
mod options;
mod run;

pub use directory::{Boot, SLOT, warn_after};
pub use guest::{End, Guest};
pub use options::{Engines, GuestOptions, Kernel};
pub use run::{PROGRAM, Run, run};
