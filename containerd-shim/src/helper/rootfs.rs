//! The mounts of a container's rootfs, which containerd asks for. They are made in the host's mount namespace, as containerd's
//! own shim makes them, because the image is identified by them, and the changes of a private rootfs are written back into them.
//! A container with a shared rootfs uses nothing of them, so they end when the container is made.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use sharedroot_sys::mount::device_mounted_at;
use sharedroot_task::messages::task::Mount;

use super::Failed;

/// The most mounts that are one above the other at a rootfs.
const MOST: usize = 64;

/// The most bytes of a file system's options (mount(2): one page).
const MOST_OPTIONS: usize = 4095;

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

/// A mount as mount(2) takes it.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    kind: String,
    source: String,
    flags: MountFlags,
    propagation: Option<MountPropagationFlags>,
    data: Option<CString>,
}

impl Plan {
    /// The words are those of mount(8), which containerd's snapshotters send (`mount/mount_linux.go`, `parseMountOptions`).
    fn of(mount: &Mount) -> Result<Self, Failed> {
        if !mount.target.is_empty() {
            return Err(Failed::unsupported(format!("a rootfs mount at {:?}", mount.target)));
        }
        let (mut flags, mut propagation) = (MountFlags::empty(), None);
        let mut data = Vec::new();
        for option in &mount.options {
            if let Some(flag) = flag(option) {
                flags |= flag;
            } else if let Some(change) = propagation_of(option) {
                propagation = Some(change);
            } else if ["rw", "suid", "dev", "exec", "async", "atime"].contains(&option.as_str()) {
                // The defaults.
            } else if option == "loop" || option.starts_with("X-") || is_id_map(option) {
                return Err(Failed::unsupported(format!("the rootfs mount option {option:?}")));
            } else {
                data.push(option.as_str());
            }
        }
        let data = data.join(",");
        if data.len() > MOST_OPTIONS {
            let text =
                format!("rootfs mount options of {} bytes (at most {MOST_OPTIONS})", data.len());
            return Err(Failed::unsupported(text));
        }
        let data = CString::new(data).map_err(Failed::invalid)?;
        Ok(Self {
            kind: mount.r#type.clone(),
            source: mount.source.clone(),
            flags,
            propagation,
            data: Some(data).filter(|data| !data.is_empty()),
        })
    }

    fn mount(&self, target: &Path) -> io::Result<()> {
        let (source, kind) = (self.source.as_str(), self.kind.as_str());
        rustix::mount::mount(source, target, kind, self.flags, self.data.as_deref())?;
        if let Some(change) = self.propagation {
            rustix::mount::mount_change(target, change)?;
        }
        // A bind takes no other flag when it is made.
        let others = self.flags - MountFlags::BIND - MountFlags::REC;
        if self.flags.contains(MountFlags::BIND) && !others.is_empty() {
            rustix::mount::mount_remount(target, others | MountFlags::BIND, "")?;
        }
        Ok(())
    }
}

fn is_id_map(option: &str) -> bool {
    option.starts_with("uidmap=") || option.starts_with("gidmap=")
}

fn flag(option: &str) -> Option<MountFlags> {
    Some(match option {
        "bind" => MountFlags::BIND,
        "rbind" => MountFlags::BIND | MountFlags::REC,
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        "strictatime" => MountFlags::STRICTATIME,
        "sync" => MountFlags::SYNCHRONOUS,
        "dirsync" => MountFlags::DIRSYNC,
        _ => return None,
    })
}

fn propagation_of(option: &str) -> Option<MountPropagationFlags> {
    let (rec, name) = match option.strip_prefix('r') {
        Some(name) => (MountPropagationFlags::REC, name),
        None => (MountPropagationFlags::empty(), option),
    };
    Some(
        rec | match name {
            "private" => MountPropagationFlags::PRIVATE,
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return None,
        },
    )
}

#[cfg(test)]
mod tests {
    use sharedroot_task::Code;

    use super::*;

    fn plan(options: &[&str]) -> Result<Plan, Failed> {
        Plan::of(&Mount {
            r#type: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Mount::default()
        })
    }

    #[test]
    fn options_are_flags_or_go_to_the_file_system() {
        let overlay =
            plan(&["index=off", "workdir=/w", "lowerdir=/a:/b", "ro", "rprivate"]).unwrap();
        assert_eq!(overlay.flags, MountFlags::RDONLY);
        assert_eq!(overlay.data.as_deref(), Some(c"index=off,workdir=/w,lowerdir=/a:/b"));
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        assert_eq!(overlay.propagation, Some(private));
        let bind = plan(&["rbind", "rw"]).unwrap();
        assert_eq!((bind.flags, bind.data), (MountFlags::BIND | MountFlags::REC, None));
    }

    #[test]
    fn what_would_be_mounted_otherwise_is_refused() {
        for option in ["loop", "uidmap=0:1:2", "X-containerd.mkfs", &"x".repeat(5000)] {
            assert_eq!(plan(&[option]).unwrap_err().code, Code::Unimplemented, "{option}");
        }
        let below = Mount { target: "a".to_owned(), ..Mount::default() };
        assert_eq!(Plan::of(&below).unwrap_err().code, Code::Unimplemented);
        assert_eq!(plan(&["a\0b"]).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn a_rootfs_that_is_not_mounted_needs_no_unmount() {
        unmount(Path::new("/no/such/directory")).unwrap();
        unmount(Path::new("/etc")).unwrap();
    }
}
