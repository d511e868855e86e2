//! Signals: a real-time signal by its number, and a handler. No crate does these two things without unsafe code.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use rustix::process::Signal;

/// The first real-time signal that glibc leaves to programs.
pub const RTMIN: i32 = 34;
/// The last signal.
pub const RTMAX: i32 = 64;

/// The signal with this number. None for 0, for numbers above 64, and for 32 and 33, which libc keeps for itself.
#[must_use]
#[expect(unsafe_code, reason = "no crate makes a real-time signal from a number otherwise")]
pub fn of_number(number: i32) -> Option<Signal> {
    if (RTMIN..=RTMAX).contains(&number) {
        // SAFETY: the number is a signal of Linux, and none of the two that libc keeps for itself (32, 33).
        return Some(unsafe { Signal::from_raw_unchecked(number) });
    }
    Signal::from_named_raw(number)
}

/// Handles SIGPIPE by a function that does nothing, so that the programs of a container get the default action.
///
/// Rust's runtime ignores SIGPIPE, and an ignored signal stays ignored across execve(2): a program of the container would
/// not end when its reader has gone. A handler becomes the default action at execve(2). Until then a write to a pipe without
/// a reader fails with EPIPE, as before.
///
/// # Errors
/// The errors of sigaction(2).
#[expect(unsafe_code, reason = "no crate sets a handler without unsafe")]
pub fn handle_broken_pipes() -> nix::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing may run at any moment (signal-safety(7)).
    unsafe { sigaction(nix::sys::signal::Signal::SIGPIPE, &action) }.map(drop)
}
