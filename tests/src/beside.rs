//! The same with runc and with ours, in one guest: what differs is a fault of ours, or has its reason in the test.

use std::fmt::Debug;

use crate::command::Output;

/// The control, and what is measured by it.
pub const RUNTIMES: [&str; 2] = ["runc", "sharedroot"];

/// Does `work` with each runtime, by its name for Docker and in PATH. What it returns must be equal, and is returned.
///
/// # Panics
/// If it is not, with both.
#[track_caller]
pub fn beside_runc<T: PartialEq + Debug>(what: &str, work: impl Fn(&str) -> T) -> T {
    let [runc, ours] = RUNTIMES.map(work);
    assert_eq!(ours, runc, "{what}: ours, runc's");
    ours
}

/// How a command ended, and what it printed for others: the words of an error are each runtime's own.
#[must_use]
pub fn seen(output: &Output) -> (i32, String) {
    (output.status, output.stdout.clone())
}

/// What no message of ours may have: a structure as Rust prints it for a programmer, or the engine's own channel.
const DUMPS: [&str; 9] = [
    "{ ",
    "Some(",
    "None",
    "Error(",
    "Failed(",
    "Flags(",
    "failed to mount Mount",
    "received unexpected message",
    "failed to receive",
];

/// Looks for dumps in what ours said.
///
/// # Panics
/// If there is one.
#[track_caller]
pub fn in_words(said: &str) {
    let dump = DUMPS.iter().find(|dump| said.contains(**dump));
    assert!(dump.is_none(), "{dump:?} is in: {said}");
}
