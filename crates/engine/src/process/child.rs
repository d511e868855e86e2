//! A child of this process: a delegate, or a process of a container. The child gets the signals that are sent to this
//! process, and this process exits with the child's exit status.
//!
//! This process is no subreaper. So the container's init process is adopted by the process that would adopt it without
//! sharedroot, such as containerd's shim.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sharedroot_sys::process_start::environment;

use crate::container::signal;

/// How long to sleep before `settled` is called again.
const PATIENCE_MS: u8 = 10;

/// Runs `program` with `words` and returns its exit status. Death by a signal becomes 128 plus the signal's number, as
/// in a shell. The child inherits the standard streams, the environment, the working directory and the descriptors
/// without close-on-exec.
///
/// `settled` is called with the child's process ID as soon as the child runs, and then until it returns true.
///
/// # Errors
/// The child cannot be started or waited for.
pub fn run(program: &Path, words: &[OsString], settled: impl FnMut(Pid) -> bool) -> io::Result<u8> {
    // The signals are blocked before the child exists, so that none arrives before the child can get it. The child
    // starts without the block.
    let forwarded = forwarded();
    let before = forwarded.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let status = start(program, words, &before).and_then(|child| {
        watch(child, &forwarded, Whose::Group, settled).inspect_err(|_| {
            // A child that this process does not watch must not go on, because its bundle is removed.
            let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        })
    });
    before.thread_set_mask()?;
    status
}

/// The signal mask that this process had before [`hold`].
static BEFORE: OnceLock<SigSet> = OnceLock::new();

/// Blocked signals. Dropping this delivers them.
#[derive(Debug)]
pub struct Held(SigSet);

impl Drop for Held {
    fn drop(&mut self) {
        // pthread_sigmask(3) fails only for an invalid address or operation.
        let _ = self.0.thread_set_mask();
    }
}

/// Blocks all signals that [`attend`] passes on. Otherwise a signal that arrives after the container's process has
/// started, and before [`attend`], would end this process and leave the container's process without a parent that waits
/// for it.
///
/// # Errors
/// pthread_sigmask(3)'s.
pub fn hold() -> io::Result<Held> {
    let before = handed_on().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    Ok(Held(*BEFORE.get_or_init(|| before)))
}

/// The mask that this process's caller gave it. `None` before [`hold`] was called.
#[must_use]
pub fn callers_mask() -> Option<&'static SigSet> {
    BEFORE.get()
}

/// In a process that was cloned from this one: restores the mask from before [`hold`].
///
/// # Errors
/// pthread_sigmask(3)'s.
pub fn let_go() -> io::Result<()> {
    Ok(BEFORE.get().map_or(Ok(()), SigSet::thread_set_mask)?)
}

/// Waits for a process of a container, which is a child of this process and has a session of its own. From now on the
/// child gets the signals that are sent to this process, also those from a terminal.
///
/// # Errors
/// The process cannot be waited for.
pub fn attend(child: Pid) -> io::Result<u8> {
    let forwarded = handed_on();
    let before = forwarded.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let status = watch(child, &forwarded, Whose::Own, |_| true);
    before.thread_set_mask()?;
    status
}

/// The signals that a container's process with a session of its own gets.
fn handed_on() -> SigSet {
    let mut forwarded = forwarded();
    // These signals are about this process, its children and its terminal.
    for own in [Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGWINCH, Signal::SIGURG] {
        forwarded.remove(own);
    }
    forwarded
}

/// The signals that a child gets when they are sent to this process. Job control stops and continues this process, and
/// the kernel does the same for a child of its group.
fn forwarded() -> SigSet {
    let mut forwarded = SigSet::all();
    for own in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT] {
        forwarded.remove(own);
    }
    forwarded
}

/// Which session and process group a child has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This process's group: the kernel sends a terminal's signals to both.
    Group,
    /// A session and group of the child's own.
    Own,
}

fn watch(
    child: Pid,
    forwarded: &SigSet,
    whose: Whose,
    mut settled: impl FnMut(Pid) -> bool,
) -> io::Result<u8> {
    let end = pidfd(child)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(forwarded, flags)?;
    let mut asking = true;
    loop {
        while let Some(signal) = signals.read_signal()? {
            // A terminal's Ctrl-C goes to the whole foreground process group, so the child gets it, too (sigaction(2):
            // `si_code` is not positive for signals that processes send).
            if whose == Whose::Own || signal.ssi_code <= 0 {
                forward(child, signal.ssi_signo);
            }
        }
        if let Some(status) = ended(child)? {
            return Ok(status);
        }
        asking = asking && !settled(child);
        let patience = if asking { PATIENCE_MS.into() } else { PollTimeout::NONE };
        let mut watched =
            [signals.as_fd(), end.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut watched, patience) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn start(program: &Path, words: &[OsString], mask: &SigSet) -> io::Result<Pid> {
    let text = |word: OsString| CString::new(word.into_vec()).map_err(io::Error::other);
    let name = program.as_os_str().to_owned();
    let args = std::iter::once(name).chain(words.iter().cloned()).map(text);
    let args = args.collect::<io::Result<Vec<_>>>()?;
    let pair = |(mut key, value): (OsString, OsString)| {
        key.push("=");
        key.push(value);
        text(key)
    };
    let environment = environment().map(pair).collect::<io::Result<Vec<_>>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(mask)?;
    // Rust's runtime ignores SIGPIPE in this process since its start.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    let streams = PosixSpawnFileActions::init()?;
    Ok(posix_spawn(program, &streams, &attributes, &args, &environment)?)
}

/// Becomes readable when the child ends (pidfd_open(2)).
fn pidfd(child: Pid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(child.as_raw());
    let pid = pid.ok_or_else(|| io::Error::other("a child without a number"))?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// The exit status of the child, if it has ended.
fn ended(child: Pid) -> io::Result<Option<u8>> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Err(nix::Error::EINTR) => {}
            ended => return Ok(exit_status(ended?)),
        }
    }
}

/// The exit status of a process that has ended. Death by a signal becomes 128 plus its number, as in a shell.
fn exit_status(ended: WaitStatus) -> Option<u8> {
    match ended {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xff).unwrap_or(255)),
        WaitStatus::Signaled(_, signal, _) => {
            Some(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(127)))
        }
        _ => None,
    }
}

/// Passes on the signals that were sent to this process.
fn forward(child: Pid, number: u32) {
    let Some(signal) = signal::parse(&number.to_string()) else { return };
    let Some(child) = rustix::process::Pid::from_raw(child.as_raw()) else { return };
    // The child may have ended. No other process gets its number before this process waits for the child.
    let _ = rustix::process::kill_process(child, signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> u8 {
        run(Path::new("/bin/sh"), &["-c".into(), script.into()], |_| true).unwrap()
    }

    #[test]
    fn the_status_is_the_childs() {
        assert_eq!(shell("exit 0"), 0);
        assert_eq!(shell("exit 42"), 42);
        assert_eq!(shell("kill -KILL $$"), 137);
        assert!(run(Path::new("/no/such/program"), &[], |_| true).is_err());
    }

    #[test]
    fn the_child_starts_without_our_block() {
        assert_eq!(shell("grep -q '^SigBlk:.*[1-9a-f]' /proc/self/status"), 1);
    }

    #[test]
    fn the_status_of_a_process_of_a_container_is_ours() {
        for (script, status) in [("exit 42", 42), ("kill -KILL $$", 137)] {
            let words = ["-c".into(), script.into()];
            let child = start(Path::new("/bin/sh"), &words, &SigSet::empty()).unwrap();
            assert_eq!(attend(child).unwrap(), status);
        }
    }

    #[test]
    fn it_is_asked_until_it_is_settled() {
        let mut left = 3;
        let settled = |_| {
            left -= 1;
            left == 0
        };
        assert_eq!(run(Path::new("/bin/sleep"), &["0.2".into()], settled).unwrap(), 0);
        assert_eq!(left, 0);
    }
}
