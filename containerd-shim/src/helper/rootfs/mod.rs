//! The mounts of a container's rootfs, which containerd asks for. They are made in the host's mount namespace, as containerd's
//! own shim makes them, because the image is identified by them, and the changes of a private rootfs are written back into them.
//! A container with a shared rootfs uses nothing of them, so they end when the container is made.

mod plan;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use plan::Plan;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use sharedroot_sys::mount::device_mounted_at;
use sharedroot_task::messages::task::Mount;

use super::Failed;

/// The most mounts that are one above the other at a rootfs.
const MOST: usize = 64;

/// A rootfs that cannot be unmounted.
#[derive(Debug, thiserror::Error)]
#[error("unmount {path}")]
pub struct RootfsError {
    path: PathBuf,
    source: io::Error,
}

/// Where containerd's shims mount the rootfs of a bundle.
pub fn of_bundle(bundle: &Path) -> PathBuf {
    bundle.join("rootfs")
}

/// The mounts of a rootfs. Dropping this value unmounts them.
#[derive(Debug)]
#[must_use = "dropping it unmounts the rootfs"]
pub struct Mounted {
    target: PathBuf,
    count: usize,
    /// The host's mount namespace, which this process may leave.
    host: OwnedFd,
}

impl Mounted {
    /// Leaves the mounts for the container.
    pub fn keep(mut self) {
        self.count = 0;
    }

    /// Unmounts in the host's mount namespace what no process of the container uses.
    pub fn end_unused(self) {
        drop(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        if setns(&self.host, CloneFlags::CLONE_NEWNS).is_err() {
            return;
        }
        for _ in 0..self.count {
            let _ = unmount_one(&self.target);
        }
    }
}

/// Makes the mounts, one above the other.
///
/// # Errors
/// A mount is of a kind that this shim does not know, or fails; then none is left.
pub fn mount(mounts: &[Mount], target: &Path) -> Result<Mounted, Failed> {
    if mounts.len() > MOST {
        return Err(Failed::invalid(format!("the rootfs has more than {MOST} mounts")));
    }
    let plans = mounts.iter().map(Plan::of).collect::<Result<Vec<_>, _>>()?;
    let other = |what: &str, e: io::Error| Failed::other(format!("{what}: {e}"));
    let host =
        rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| other("open the mount namespace", e.into()))?;
    if !plans.is_empty() {
        match std::fs::create_dir(target) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(other(&format!("create {}", target.display()), e));
            }
            _ => {}
        }
    }
    let mut mounted = Mounted { target: target.to_owned(), count: 0, host };
    for plan in &plans {
        plan.mount(target).map_err(|e| {
            let text = format!("mount {} ({}) at {}", plan.source, plan.kind, target.display());
            other(&text, e)
        })?;
        mounted.count += 1;
    }
    Ok(mounted)
}

/// Unmounts all that is mounted at `target`. It is no error if nothing is, or if there is no such directory.
///
/// # Errors
/// umount2(2)'s.
pub fn unmount(target: &Path) -> Result<(), RootfsError> {
    for _ in 0..MOST {
        if device_mounted_at(target).is_none() {
            return Ok(());
        }
        unmount_one(target)
            .map_err(|source| RootfsError { path: target.to_owned(), source: source.into() })?;
    }
    let source = io::Error::other("too many mounts are one above the other");
    Err(RootfsError { path: target.to_owned(), source })
}

fn unmount_one(target: &Path) -> rustix::io::Result<()> {
    match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Somebody was faster.
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rootfs_that_is_not_mounted_needs_no_unmount() {
        unmount(Path::new("/no/such/directory")).unwrap();
        unmount(Path::new("/etc")).unwrap();
    }
}
