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

/// The numbers of the signals in `set`, with commas between them. Without any it is `0`, which is no signal.
#[must_use]
#[expect(unsafe_code, reason = "no crate asks a set for a real-time signal")]
pub fn to_text(set: &SigSet) -> String {
    // SAFETY: a set that is made and a number that signals can have: nothing is written.
    let has = |number: &i32| unsafe { libc::sigismember(set.as_ref(), *number) } == 1;
    let numbers: Vec<_> = (1..=RTMAX).filter(has).map(|number| number.to_string()).collect();
    if numbers.is_empty() { "0".to_owned() } else { numbers.join(",") }
}

/// The set that [`to_text`] told; `None` for any other text.
#[must_use]
#[expect(unsafe_code, reason = "no crate puts a real-time signal into a set")]
pub fn of_text(text: &str) -> Option<SigSet> {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    for number in text.split(',') {
        match number.parse().ok()? {
            0 => {}
            // SAFETY: a set that is made; what is no signal is refused.
            number if unsafe { libc::sigaddset(&raw mut set, number) } == 0 => {}
            _ => return None,
        }
    }
    // SAFETY: made by sigemptyset(3) and sigaddset(3) only.
    Some(unsafe { SigSet::from_sigset_t_unchecked(set) })
}

/// Takes every signal that is ignored with a handler that does nothing, for the programs that this process executes.
///
/// What is ignored stays so across execve(2): Rust's runtime ignores SIGPIPE, and no program of a container would end when nobody
/// reads what it writes; a shell's job in the background ignores SIGINT. A handler ends with execve(2). Until then a write still
/// fails with EPIPE, and nothing else ends this process either.
///
/// # Errors
/// What the operating system says of `/proc/self/status`, or sigaction(2).
#[expect(unsafe_code, reason = "no crate sets a handler without unsafe")]
pub fn handle_ignored() -> std::io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // The kernel makes all of it for the first read(2).
    let mut status = [0; 4096];
    let length = std::fs::File::open("/proc/self/status")?.read(&mut status)?;
    let status = String::from_utf8_lossy(&status[..length]);
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    let ignored = ignored.ok_or(std::io::ErrorKind::InvalidData)?;
    // Real-time signals have no other names, and are nobody's to ignore by habit.
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
