//! Mount namespaces of this process and of one thread (mount_namespaces(7)).

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::MountError;

/// Whether [`enter_private_namespace`] was called in this process.
static PRIVATE: AtomicBool = AtomicBool::new(false);

/// Gives this process a mount namespace of its own. A mount or unmount of the host still reaches the process; one of the
/// process does not reach the host. A second call changes nothing.
///
/// # Errors
/// [`MountError::Namespace`].
pub fn enter_private_namespace() -> Result<(), MountError> {
    if PRIVATE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    unshare_mounts()
}

/// Runs `act` on a new thread with a mount namespace of its own. The host never sees what `act` mounts there, and the mounts
/// end with the thread, also if the process is killed. `act` can return a detached mount, and no other.
///
/// # Errors
/// [`MountError::Namespace`].
pub fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, MountError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| unshare_mounts().map(|()| act()));
        thread.join().expect("a panic ends the process")
    })
}

/// Gives the calling thread its own copy of the mount table.
fn unshare_mounts() -> Result<(), MountError> {
    let fail = |step| move |source| MountError::Namespace { step, source };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|e| fail("unshare")(Errno::from_raw_os_error(e as i32)))?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(fail("make / a slave"))
}
