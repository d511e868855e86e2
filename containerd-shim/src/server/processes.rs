//! The processes of containers: children of the server, each with a descriptor that tells its end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, pidfd_send_signal, wait, waitid};
use sharedroot_sys::signal::of_number;
use sharedroot_task::messages::Timestamp;
use sharedroot_task::{Code, Exit, Outcome, Refusal, Target};

use super::jobs::child;
use super::poll::{Interest, Poll, Token};
use crate::report::Keep;

/// A process of a container.
#[derive(Debug)]
struct Process {
    target: Target,
    end: OwnedFd,
    /// What is closed with the end of the process.
    kept: Vec<(Keep, OwnedFd)>,
}

/// The processes that have not ended.
#[derive(Debug, Default)]
pub struct Processes {
    by_pid: BTreeMap<u32, Process>,
}

impl Processes {
    /// Waits for the end of a child, whose helper has ended.
    ///
    /// # Errors
    /// There is no such child.
    pub fn add(
        &mut self,
        pid: u32,
        target: Target,
        kept: Vec<(Keep, OwnedFd)>,
        poll: &Poll,
    ) -> io::Result<()> {
        let end = child(pid)?;
        poll.add(&end, Token::Process(pid), Interest::READ)?;
        self.by_pid.insert(pid, Process { target, end, kept });
        Ok(())
    }

    /// A process may have ended. Returns which one and how, if it has; then nothing of it is kept.
    pub fn ended(&mut self, pid: u32, now: Timestamp, poll: &Poll) -> Option<(Target, Exit)> {
        let process = self.by_pid.get(&pid)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(process.end.as_fd()), options).ok()??;
        let status = exit_status(status.exit_status(), status.terminating_signal());
        Some((self.remove(pid, poll)?, Exit { status, at: now }))
    }

    fn remove(&mut self, pid: u32, poll: &Poll) -> Option<Target> {
        let process = self.by_pid.remove(&pid)?;
        poll.forget(&process.end);
        Some(process.target)
    }

    /// Waits for every child that has ended, also for those that nobody knows: processes that a hook or a container left
    /// behind. Only while no operation is under way, because the process of an operation may not be known yet.
    pub fn sweep(&mut self, now: Timestamp, poll: &Poll) -> Vec<(u32, Target, Exit)> {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            if let Some(target) = self.remove(pid, poll) {
                let status = exit_status(status.exit_status(), status.terminating_signal());
                ended.push((pid, target, Exit { status, at: now }));
            }
        }
        ended
    }

    /// Sends a signal to one process.
    pub fn kill(&self, target: &Target, signal: u32) -> Outcome {
        let process = self.by_pid.values().find(|process| process.target == *target);
        let Some(process) = process else { return Outcome::Failed(Refusal::Finished) };
        // Signal 0 asks whether the process is there.
        let signal = match i32::try_from(signal) {
            Ok(0) => return Outcome::Done,
            signal => signal.ok().and_then(of_number),
        };
        let Some(signal) = signal else {
            let text = "this host has no such signal: invalid argument".to_owned();
            return Outcome::Failed(Refusal::Failed { code: Code::InvalidArgument, text });
        };
        match pidfd_send_signal(&process.end, signal) {
            Ok(()) => Outcome::Done,
            Err(Errno::SRCH) => Outcome::Failed(Refusal::Finished),
            Err(error) => {
                let text = format!("send a signal: {error}");
                Outcome::Failed(Refusal::Failed { code: Code::Unknown, text })
            }
        }
    }

    /// Closes the writing end of a process's standard input.
    pub fn close_input(&mut self, target: &Target) {
        let processes = self.by_pid.values_mut().filter(|process| process.target == *target);
        processes.for_each(|process| process.kept.retain(|(keep, _)| *keep != Keep::Input));
    }
}

/// The status that containerd tells: that of exit(2), or 128 and the signal.
fn exit_status(exited: Option<i32>, signalled: Option<i32>) -> u32 {
    match (exited, signalled) {
        (Some(status), _) => status.unsigned_abs(),
        (None, Some(signal)) => 128 + signal.unsigned_abs(),
        (None, None) => 255,
    }
}
