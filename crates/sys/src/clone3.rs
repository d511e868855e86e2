//! A child of this process by clone3(2), for what fork(2) cannot do: begin in another cgroup or PID namespace, or be a sibling.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::unistd::Pid;

/// `CLONE_INTO_CGROUP` of `linux/sched.h` (Linux 5.7).
const INTO_CGROUP: u64 = 1 << 33;
/// `CLONE_PARENT` of `linux/sched.h`.
const PARENT: u64 = 0x8000;
/// `CLONE_NEWPID` of `linux/sched.h`.
const NEWPID: u64 = 0x2000_0000;

/// How the new process is related to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A child of this process.
    Child,
    /// A child of this process's parent.
    Sibling,
    /// A child of this process, and the first process of a new PID namespace.
    InitOfNewPidNamespace,
}

/// Copies this process, as fork(2) does. Returns the PID of the new process, and `None` in the new process.
///
/// The new process begins in the cgroup whose directory `cgroup` is open on; without `cgroup` in the cgroup of this process.
/// This process must have one thread: the new process has the calling thread only.
///
/// # Errors
/// The error of clone3(2).
#[expect(unsafe_code, reason = "no crate makes this call without unsafe")]
pub fn fork(cgroup: Option<BorrowedFd<'_>>, relation: Relation) -> io::Result<Option<Pid>> {
    let flags = match relation {
        Relation::Child => 0,
        Relation::Sibling => PARENT,
        Relation::InitOfNewPidNamespace => NEWPID,
    };
    let args = libc::clone_args {
        flags: flags | cgroup.map_or(0, |_| INTO_CGROUP),
        // A sibling sends the signal that this process sends at its end (clone(2), CLONE_PARENT).
        exit_signal: if relation == Relation::Sibling { 0 } else { libc::SIGCHLD as u64 },
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
    };
    // SAFETY: without CLONE_VM and without a stack this is fork(2) (clone(2), "The clone3() system call"), and this
    // process has one thread. The structure outlives the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?))),
    }
}
