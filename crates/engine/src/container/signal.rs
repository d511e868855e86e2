//! Signals by name and number. They include the real-time signals, which stop images of systemd (`STOPSIGNAL
//! SIGRTMIN+3`).

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sharedroot_sys::signal::{RTMAX, RTMIN, of_number};

/// Parses `KILL`, `SIGKILL`, `9`, `RTMIN+3`, `SIGRTMAX-1`.
#[must_use]
pub fn parse(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest.strip_prefix('+').unwrap_or(rest))?)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        RTMAX.checked_sub(offset(rest.strip_prefix('-').unwrap_or(rest))?)?
    } else if let Ok(number) = name.parse() {
        number
    } else {
        format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok()? as i32
    };
    of_number(number)
}

/// Sends `signal` to a process. It is no error if the process has ended.
///
/// # Errors
/// pidfd_send_signal(2)'s.
pub fn send(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Err(Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// Waits until a process has ended, at most for `longest`. Returns whether the process has ended.
///
/// # Errors
/// poll(2)'s.
pub fn await_end(process: &OwnedFd, longest: Duration) -> io::Result<bool> {
    let end = Instant::now() + longest;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ended => return Ok(ended? > 0),
        }
    }
}

/// How many descriptors [`send_to_all`] has open at a time. A process may have 1024 open files.
const AT_A_TIME: usize = 256;

/// Sends `signal` once to each of `pids`. `still` tells which of some numbers are the container's after each process is held by
/// a descriptor, because by then another process may have a number. A container decides how many there are, so `end` is the
/// end of the whole.
///
/// # Errors
/// Those of `still`; those of pidfd_send_signal(2), and [`io::ErrorKind::TimedOut`], converted by `fail`.
pub fn send_to_all<E>(
    pids: &[i32],
    still: impl Fn(&[i32]) -> Result<HashSet<i32>, E>,
    signal: Signal,
    end: Instant,
    fail: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    // An error for one process must not keep the others from their signal.
    let mut first = None;
    for (done, some) in pids.chunks(AT_A_TIME).enumerate() {
        if Instant::now() >= end {
            let left = pids.len() - done * AT_A_TIME;
            let why = format!("no time is left for {left} of {} processes", pids.len());
            return Err(fail(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        let mut held = Vec::with_capacity(some.len());
        for pid in some.iter().filter(|pid| **pid > 1) {
            let Some(named) = Pid::from_raw(*pid) else { continue };
            match pidfd_open(named, PidfdFlags::empty()) {
                // INVAL: Linux before 6.15 returns it for a process that has ended and whose number still names a
                // session or a group.
                Err(Errno::SRCH | Errno::INVAL) => {}
                Err(error) => first = first.or(Some(error.into())),
                Ok(process) => held.push((*pid, process)),
            }
        }
        let still = still(some)?;
        for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            if let Err(error) = send(process, signal) {
                first = first.or(Some(error));
            }
        }
    }
    first.map_or(Ok(()), |error| Err(fail(error)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn who_is_not_named_again_gets_no_signal() {
        let (mut mine, mut others) = (sleeper(), sleeper());
        let (pids, still) = ([pid(&mine), pid(&others)], HashSet::from([pid(&mine)]));
        let still = |_: &[i32]| Ok::<_, io::Error>(still.clone());
        send_to_all(&pids, still, Signal::TERM, later(), |e| e).unwrap();
        assert_eq!(mine.wait().unwrap().signal(), Some(15));
        others.kill().unwrap();
        assert_eq!(others.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn all_processes_together_have_one_end() {
        let mut last = sleeper();
        // Numbers that no process has (proc_sys_kernel(5), `pid_max`), and a process in the last part.
        let mut pids = vec![i32::MAX; 3 * AT_A_TIME];
        pids.push(pid(&last));
        let (asked, end) = (Cell::new(0), Instant::now() + Duration::from_secs(1));
        // The second part takes all the time that is left.
        let slow = |some: &[i32]| {
            asked.set(asked.get() + some.len());
            if asked.get() == 2 * AT_A_TIME {
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
            }
            Ok(some.iter().copied().collect())
        };
        let error = send_to_all(&pids, slow, Signal::TERM, end, |e| e).unwrap_err();
        assert_eq!(error.to_string(), "no time is left for 257 of 769 processes");
        assert_eq!(asked.get(), 2 * AT_A_TIME, "each process is asked for once");
        send_to_all(&pids, slow, Signal::TERM, later(), |e| e).unwrap();
        assert_eq!(last.wait().unwrap().signal(), Some(15));
    }

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
        for wrong in [
            "",
            "0",
            "-1",
            "32",
            "65",
            "RTMIN+31",
            "RTMIN+2147483647",
            "RTMAX--2147483648",
            "RTMAX-x",
            "SIGSIGTERM",
            "NO",
            "1e9",
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
