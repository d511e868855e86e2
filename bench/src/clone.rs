//! clone3(2) into namespaces and a cgroup at once. This file has unsafe code, because no crate makes this call.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::Pid;

/// The namespaces of runc's default configuration.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`; libc's constant is 32 bits wide.
const INTO_CGROUP: u64 = 1 << 33;

/// Clones this process into new namespaces and into `cgroup`. Returns the child's process ID in the parent, and `None` in the
/// child.
pub(super) fn into_container(cgroup: BorrowedFd<'_>) -> Option<Pid> {
    let args = libc::clone_args {
        flags: NAMESPACES | INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
    };
    // SAFETY: without CLONE_VM and without a stack this is fork(2) (clone(2), "The clone3() system call"); this process
    // has one thread, so the child may go on as its copy. The structure outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    assert!(pid >= 0, "clone3: {}", std::io::Error::last_os_error());
    Pid::from_raw(pid as i32)
}
