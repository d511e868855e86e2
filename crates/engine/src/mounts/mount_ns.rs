//! The mounts of a container that waits for `start`, reached from this process.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;

/// A container's mount namespace could not be entered.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}")]
pub struct MountNsError {
    step: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// The root directory of a container in whose mount namespace the current thread is.
#[derive(Debug)]
pub struct MountNs(OwnedFd);

/// Runs `act` in the mount namespace of the process `pid`, on a thread with a root directory of its own. This process's
/// other threads stay where they are.
///
/// # Errors
/// [`MountNsError`]; then `act` did not run.
pub fn enter<T: Send>(pid: i32, act: impl FnOnce(&MountNs) -> T + Send) -> Result<T, MountNsError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| MountNs::of(pid).map(|inside| act(&inside)));
        thread.join().expect("a panic ends the process")
    })
}

/// Runs `act` below the directory `root`, in this process's mount namespace, on a thread of its own.
///
/// # Errors
/// [`MountNsError`]; then `act` did not run.
pub fn below<T: Send>(
    root: &Path,
    act: impl FnOnce(&MountNs) -> T + Send,
) -> Result<T, MountNsError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| MountNs::below(root).map(|inside| act(&inside)));
        thread.join().expect("a panic ends the process")
    })
}

impl MountNs {
    fn below(root: &Path) -> Result<Self, MountNsError> {
        unshare(CloneFlags::CLONE_FS)
            .map_err(|e| failed("leave the directory for", root)(e.into()))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = open(root, flags, Mode::empty()).map_err(|e| failed("open", root)(e.into()))?;
        Ok(Self(top))
    }

    fn of(pid: i32) -> Result<Self, MountNsError> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
        let namespace = File::open(&path).map_err(failed("open", &path))?;
        unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(&namespace, CloneFlags::CLONE_NEWNS))
            .map_err(|e| failed("enter", &path)(e.into()))?;
        let top = Path::new("/");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(top, flags, Mode::empty()).map_err(|e| failed("open", top)(e.into()))?;
        Ok(Self(root))
    }

    /// Opens the file at `path` as the engine resolved the path: symbolic links of the image cannot lead out of the
    /// root.
    ///
    /// # Errors
    /// openat2(2)'s.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        Resolve::Root.open(&self.0, path, OFlags::PATH | flags)
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MountNsError {
    let path = path.to_owned();
    move |source| MountNsError { step, path, source }
}
