//! The runtime's own executable, which a container must not be able to write.
//!
//! A process of the container can open `/proc/<runtime's pid>/exe` while the runtime is inside the container, and write
//! to the file after the runtime has ended (CVE-2019-5736). So the verbs that enter a container run from a read-only
//! mount of the executable that is attached to no directory: a write through that mount fails with EROFS. Unlike with a
//! memfd, no byte is copied.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use libcontainer::syscall::linux::{AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, MountAttr};
use libcontainer::syscall::syscall::create_syscall;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use sharedroot_sys::mount::{self, MountError};
use sharedroot_sys::process_start::{environment, handed_over};

/// The executable could not be sealed, so the verb is refused.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// An operation on the executable failed.
    #[error("{step} the runtime's own executable")]
    Step {
        /// The operation.
        step: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The detached mount cannot be made.
    #[error("seal the runtime's own executable")]
    Mount(#[from] MountError),
}

/// Returns if this process already runs from a read-only mount. Otherwise executes the program again from such a mount,
/// and returns only on failure.
///
/// # Errors
/// [`SealError`].
pub fn seal() -> Result<(), SealError> {
    let fail = |step| move |source| SealError::Step { step, source };
    let errno = |step| move |e: nix::Error| SealError::Step { step, source: e.into() };
    let running = std::fs::File::open("/proc/self/exe").map_err(fail("open"))?;
    let flags = fstatvfs(&running).map_err(errno("statvfs"))?.flags();
    if flags.contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let sealed = sealed()?;
    let text = |word: std::ffi::OsString| CString::new(word.into_vec()).unwrap_or_default();
    let args: Vec<_> = std::env::args_os().map(text).collect();
    let env: Vec<_> = environment()
        .chain([handed_over()])
        .map(|(key, value)| {
            let mut pair = key;
            pair.push("=");
            pair.push(value);
            text(pair)
        })
        .collect();
    let Err(error) = nix::unistd::fexecve(&sealed, &args, &env);
    Err(errno("execute")(error))
}

/// This program's executable, in a read-only mount that is attached nowhere.
///
/// # Errors
/// [`SealError`].
pub fn sealed() -> Result<OwnedFd, SealError> {
    let fail = |step| move |source| SealError::Step { step, source };
    let path = std::fs::read_link("/proc/self/exe").map_err(fail("find"))?;
    let sealed = mount::bind(&path)?;
    let read_only =
        MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    create_syscall()
        .mount_setattr(
            sealed.as_fd(),
            Path::new(""),
            AT_EMPTY_PATH,
            &read_only,
            size_of::<MountAttr>(),
        )
        .map_err(|e| fail("make read-only")(std::io::Error::other(e)))?;
    Ok(sealed.into())
}
