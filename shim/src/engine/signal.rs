//! Signals by name and number, real-time ones among them, which images of systemd stop by
//! (`STOPSIGNAL SIGRTMIN+3`).

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use rustix::process::{Pid, Signal};

/// The first real-time signal that glibc leaves to programs.
const RTMIN: i32 = 34;
/// The last signal.
const RTMAX: i32 = 64;

/// Parses `KILL`, `SIGKILL`, `9`, `RTMIN+3`, `SIGRTMAX-1`.
#[must_use]
#[expect(unsafe_code, reason = "no crate makes a real-time signal from a number otherwise")]
pub fn parse(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(rest.strip_prefix('+').unwrap_or(rest))?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        RTMAX - offset(rest.strip_prefix('-').unwrap_or(rest))?
    } else if let Ok(number) = name.parse() {
        number
    } else {
        format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok()? as i32
    };
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

/// Sends `signal` to a process; that it is gone is no error.
///
/// # Errors
/// kill(2)'s.
pub fn send(pid: i32, signal: Signal) -> std::io::Result<()> {
    let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 1) else {
        return Ok(());
    };
    match rustix::process::kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers_are_the_hosts() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("5", 5),
            ("TRAP", 5),
            ("BUS", 7),
            ("7", 7),
            ("37", 37),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(text).map(|signal| signal.as_raw()), Some(number), "{text}");
        }
        for wrong in ["", "0", "-1", "32", "65", "RTMIN+31", "RTMAX-x", "SIGSIGTERM", "NO", "1e9"] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
