//! Loads a seccomp filter.

use std::io;

use nix::libc;

/// Loads the filter `program` for this thread and leaves no_new_privs as it is. `flags` are SECCOMP_FILTER_FLAG_… of
/// seccomp(2).
///
/// # Errors
/// The errors of seccomp(2). With SECCOMP_FILTER_FLAG_TSYNC it is an error, too, that another thread has another filter.
#[expect(unsafe_code, reason = "no crate loads a filter without setting no_new_privs")]
pub fn load(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    // The kernel reads the program and does not write it.
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` names `len` instructions of `program`; both outlive the call, which copies them.
    let loaded = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    };
    match loaded {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has another filter"))),
    }
}
