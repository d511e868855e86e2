//! Processes that take the output of containers: loggers (`binary://`), and those that copy into files. A helper starts them,
//! and they are the server's children when the helper has ended. Such a process ends by itself when it has read the end of the
//! output. The server reads nothing of the output, so a logger that hangs holds up its own container only.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sharedroot_task::Target;

use super::poll::{Interest, Poll, Token};

/// How long a logger may take after SIGTERM, as with containerd's own shim.
const AFTER_TERM: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Logger {
    target: Target,
    end: OwnedFd,
    /// The next signal, and when it is sent.
    next: Option<(Instant, Signal)>,
}

/// The loggers that have not ended, by their numbers.
#[derive(Debug, Default)]
pub struct Loggers {
    last: u64,
    running: BTreeMap<u64, Logger>,
}

impl Loggers {
    /// Waits for the end of a logger.
    ///
    /// # Errors
    /// The logger cannot be waited for.
    pub fn add(&mut self, target: Target, end: OwnedFd, poll: &Poll) -> io::Result<()> {
        self.last += 1;
        poll.add(&end, Token::Logger(self.last), Interest::READ)?;
        self.running.insert(self.last, Logger { target, end, next: None });
        Ok(())
    }

    /// A logger may have ended.
    pub fn ended(&mut self, number: u64, poll: &Poll) {
        let Some(logger) = self.running.get(&number) else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(logger.end.as_fd()), options) {
            Ok(None) | Err(Errno::INTR) => return,
            // CHILD: it was waited for with all other children.
            Ok(Some(_)) | Err(_) => {}
        }
        poll.forget(&logger.end);
        self.running.remove(&number);
    }

    /// Whether a logger takes the output of the process, or of any process of the container.
    pub fn has(&self, of: &Target) -> bool {
        self.running.values().any(|logger| logger.is_of(of))
    }

    /// The output has ended: a logger that is still there at `until` gets SIGTERM, and later SIGKILL.
    pub fn end(&mut self, of: &Target, until: Instant) {
        for logger in self.running.values_mut().filter(|logger| logger.is_of(of)) {
            logger.next.get_or_insert((until, Signal::TERM));
        }
    }

    /// Sends the signals whose time has come.
    pub fn signal(&mut self, now: Instant) {
        for logger in self.running.values_mut() {
            let Some((_, signal)) = logger.next.filter(|(at, _)| *at <= now) else { continue };
            // One that has ended is found by its descriptor.
            let _ = pidfd_send_signal(&logger.end, signal);
            logger.next = (signal == Signal::TERM).then(|| (now + AFTER_TERM, Signal::KILL));
        }
    }

    /// When the next signal is due.
    pub fn next(&self) -> Option<Instant> {
        self.running.values().filter_map(|logger| logger.next).map(|(at, _)| at).min()
    }
}

impl Logger {
    fn is_of(&self, of: &Target) -> bool {
        self.target.container == of.container && (of.exec.is_none() || self.target.exec == of.exec)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn logger(script: &str) -> (Child, OwnedFd) {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        (child, pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    fn target(exec: Option<&str>) -> Target {
        Target { container: "c".parse().unwrap(), exec: exec.map(|exec| exec.parse().unwrap()) }
    }

    #[test]
    fn a_logger_that_does_not_end_by_itself_gets_signals_in_turn() {
        let poll = Poll::new().unwrap();
        let mut loggers = Loggers::default();
        let (_quick, end) = logger("exit 0");
        loggers.add(target(Some("e")), end, &poll).unwrap();
        let (_deaf, end) = logger("trap '' TERM; while :; do sleep 1; done");
        loggers.add(target(None), end, &poll).unwrap();
        assert_eq!(poll.wait(None).unwrap(), [Token::Logger(1)]);
        loggers.ended(1, &poll);
        assert!(!loggers.has(&target(Some("e"))) && loggers.has(&target(None)));
        let now = Instant::now();
        assert_eq!(loggers.next(), None);
        loggers.end(&target(None), now);
        loggers.signal(now);
        let kill = now + AFTER_TERM;
        assert_eq!(loggers.next(), Some(kill));
        // A second `end` begins nothing anew.
        loggers.end(&target(None), now);
        loggers.signal(kill);
        assert_eq!(loggers.next(), None);
        assert_eq!(poll.wait(None).unwrap(), [Token::Logger(2)]);
        loggers.ended(2, &poll);
        assert!(!loggers.has(&target(None)));
    }
}
