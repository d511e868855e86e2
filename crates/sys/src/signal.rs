//! What no crate does with signals without unsafe: a real-time signal by its number, and a handler.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use rustix::process::Signal;

/// The first real-time signal that glibc leaves to programs.
pub const RTMIN: i32 = 34;
/// The last signal.
pub const RTMAX: i32 = 64;

/// The signal of that number, also a real-time one. None for 0, for 32 and 33, which libc keeps for itself, and above 64.
#[must_use]
#[expect(unsafe_code, reason = "no crate makes a real-time signal from a number otherwise")]
pub fn of_number(number: i32) -> Option<Signal> {
    if (RTMIN..=RTMAX).contains(&number) {
        // SAFETY: in Linux' range, and not one of the two that libc keeps for itself (32, 33).
        return Some(unsafe { Signal::from_raw_unchecked(number) });
    }
    Signal::from_named_raw(number)
}

/// Takes SIGPIPE with a handler that does nothing, for the container's processes.
///
/// Rust's runtime ignores it, and what is ignored stays so across execve(2): no program of the container would end when
/// nobody reads what it writes. A handler ends with execve(2); until then a write still fails with EPIPE.
///
/// # Errors
/// sigaction(2)'s.
#[expect(unsafe_code, reason = "no crate sets a handler without unsafe")]
pub fn handle_broken_pipes() -> nix::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing may run at any moment (signal-safety(7)).
    unsafe { sigaction(nix::sys::signal::Signal::SIGPIPE, &action) }.map(drop)
}
