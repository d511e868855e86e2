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
    let is_ignored = |number: i32| ignored >> (number - 1) & 1 == 1;
    // Real-time signals have no names here, and programs do not usually ignore them.
    for signal in Signal::iterator().filter(|signal| is_ignored(*signal as i32)) {
        // SAFETY: a handler that does nothing may run at any moment (signal-safety(7)).
        unsafe { sigaction(signal, &action) }?;
    }
    for number in (LIBCS..RTMIN).filter(|number| is_ignored(*number)) {
        set_kernels(number, [0; 4])?;
    }
    Ok(())
}

/// The first of the two signals that libc keeps for itself. A program that posix_spawn(3) of glibc executes begins with both
/// ignored, and sigaction(2) of glibc refuses them.
const LIBCS: i32 = 32;

/// rt_sigaction(2) with the kernel's own form of an action: the handler, 0 for the default and 1 to ignore the signal, then
/// flags, restorer and mask.
#[expect(unsafe_code, reason = "libc refuses its own signals")]
fn set_kernels(number: i32, action: [u64; 4]) -> std::io::Result<()> {
    let old = std::ptr::null_mut::<u64>();
    let set = std::mem::size_of::<u64>();
    // SAFETY: the kernel reads at most 32 bytes of the action, and writes nothing. No handler is set.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, number, action.as_ptr(), old, set) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signal_stays_ignored_not_even_one_of_libcs() {
        let ignored = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        for number in [LIBCS, LIBCS + 1] {
            set_kernels(number, [1, 0, 0, 0]).unwrap();
        }
        assert_eq!(ignored() >> (LIBCS - 1), 3);
        handle_ignored().unwrap();
        assert_eq!(ignored(), 0);
    }

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
