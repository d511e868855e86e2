//! Signals: a real-time signal by its number, a set as text, and a handler. No crate does these things without unsafe code.

use std::io::Read;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The first real-time signal that glibc leaves to programs.
pub const RTMIN: i32 = 34;
/// The last signal.
pub const RTMAX: i32 = 64;

/// The signal with this number. None for 0, for numbers above 64, and for 32 and 33, which libc keeps for itself.
#[must_use]
#[expect(unsafe_code, reason = "no crate makes a real-time signal from a number otherwise")]
pub fn of_number(number: i32) -> Option<rustix::process::Signal> {
    if (RTMIN..=RTMAX).contains(&number) {
        // SAFETY: the number is a signal of Linux, and none of the two that libc keeps for itself (32, 33).
        return Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) });
    }
    rustix::process::Signal::from_named_raw(number)
}

/// The numbers of the signals in `set`, with commas between them. For an empty set the text is `0`, which is no signal.
#[must_use]
#[expect(unsafe_code, reason = "no crate asks a set for a real-time signal")]
pub fn to_text(set: &SigSet) -> String {
    // SAFETY: the set is initialised, and the number is a signal's. Nothing is written.
    let has = |number: &i32| unsafe { libc::sigismember(set.as_ref(), *number) } == 1;
    let numbers: Vec<_> = (1..=RTMAX).filter(has).map(|number| number.to_string()).collect();
    if numbers.is_empty() { "0".to_owned() } else { numbers.join(",") }
}

/// The set whose text [`to_text`] made; `None` for any other text.
#[must_use]
#[expect(unsafe_code, reason = "no crate puts a real-time signal into a set")]
pub fn of_text(text: &str) -> Option<SigSet> {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    for number in text.split(',') {
        match number.parse().ok()? {
            0 => {}
            // SAFETY: the set is initialised. The call refuses a number that is no signal.
            number if unsafe { libc::sigaddset(&raw mut set, number) } == 0 => {}
            _ => return None,
        }
    }
    // SAFETY: only sigemptyset(3) and sigaddset(3) have made this set.
    Some(unsafe { SigSet::from_sigset_t_unchecked(set) })
}

/// Sets a handler that does nothing for every signal that is ignored, for the programs that this process executes.
///
/// An ignored signal stays ignored across execve(2). Rust's runtime ignores SIGPIPE, and then no program of a container would
/// end when nobody reads its output; a shell's job in the background ignores SIGINT. A handler does not survive execve(2), so
/// the program gets the default action. Until then a write still fails with EPIPE, and these signals do not end this process.
///
/// # Errors
/// The operating system's error of `/proc/self/status`, or of sigaction(2).
#[expect(unsafe_code, reason = "no crate sets a handler without unsafe")]
pub fn handle_ignored() -> std::io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // The kernel makes the whole text for the first read(2).
    let mut status = [0; 4096];
    let length = std::fs::File::open("/proc/self/status")?.read(&mut status)?;
    let status = String::from_utf8_lossy(&status[..length]);
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    let ignored = ignored.ok_or(std::io::ErrorKind::InvalidData)?;
    // Real-time signals have no names here, and programs do not usually ignore them.
    for signal in Signal::iterator().filter(|signal| ignored >> (*signal as i32 - 1) & 1 == 1) {
        // SAFETY: a handler that does nothing may run at any moment (signal-safety(7)).
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_told() {
        for text in ["0", "1", "2,15", "10,34,64", "1,2,3,31,40,63"] {
            assert_eq!(to_text(&of_text(text).unwrap()), text);
        }
        assert_eq!(of_text(&to_text(&SigSet::all())), Some(SigSet::all()));
        for wrong in ["", "x", "65", "-1", "1,", "1 2"] {
            assert!(of_text(wrong).is_none(), "{wrong}");
        }
    }
}
