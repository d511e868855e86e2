//! What a configuration needs in its rootfs: mount points, and the directory in which the process starts.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Mount, Spec};
use pathrs::Root;
use pathrs::flags::OpenFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use sharedroot_bases::{Kind, Missing};
use sharedroot_sys::resolve::Resolve;

use super::error::{RootError, file};
use super::landing::{is_plain, landing, stands};

/// The paths that must exist before the container's mounts are made, in the order of the mounts: a later mount can be
/// in an earlier one. The last path is the directory in which the process starts.
#[derive(Debug)]
pub struct Needs {
    all: Vec<Need>,
    /// Whether the container has CAP_SYS_ADMIN. With this capability it can shut down the file system of its rootfs
    /// (`EXT4_IOC_SHUTDOWN` of ext4(5)), which must not be the base that other containers share.
    administers: bool,
}

#[derive(Debug)]
struct Need {
    /// The path in the configuration.
    path: PathBuf,
    /// The source of a bind mount, which decides whether the mount point is a file. All other mount points are
    /// directories.
    source: Option<PathBuf>,
    /// Whether the path is a mount that may be written.
    writable: bool,
}

impl Needs {
    /// Reads the caller's configuration, before it is rewritten. Relative sources begin at `bundle`.
    #[must_use]
    pub fn of(spec: &Spec, bundle: &Path) -> Self {
        let need = |mount: &Mount| Need {
            path: mount.destination().clone(),
            source: mount.source().as_ref().filter(|_| is_bind(mount)).map(|s| bundle.join(s)),
            writable: mount
                .options()
                .iter()
                .flatten()
                .all(|option| option != "ro" && option != "rro"),
        };
        let mut needs: Vec<_> = spec.mounts().iter().flatten().map(need).collect();
        let start = spec.process().as_ref().map(|process| process.cwd().clone());
        let path = start.unwrap_or_else(|| PathBuf::from("/"));
        needs.push(Need { path, source: None, writable: false });
        let capabilities =
            spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
        let administers = capabilities.is_some_and(|sets| {
            let sets = [sets.bounding(), sets.permitted(), sets.effective()];
            sets.into_iter().flatten().any(|set| set.contains(&Capability::SysAdmin))
        });
        Self { all: needs, administers }
    }

    /// Whether the rootfs must be an overlay even if nothing is missing: an overlay passes on no ioctl(2) of a file
    /// system.
    #[must_use]
    pub fn overlay(&self) -> bool {
        self.administers
    }

    /// The paths that `root` lacks, sorted. Paths in a mount are left to the mount.
    ///
    /// A path is left out if it needs a directory where the root has a file; the engine reports that.
    #[must_use]
    pub fn missing(&self, root: impl AsFd) -> Vec<Missing> {
        let mut missing: Vec<_> = self.lacking(root).into_iter().map(|(_, one)| one).collect();
        missing.sort();
        missing
    }

    /// The missing paths in the order of the needs, each with its index.
    fn lacking(&self, root: impl AsFd) -> Vec<(usize, Missing)> {
        let (mut mounted, mut missing) = (Vec::<PathBuf>::new(), Vec::new());
        for (index, need) in self.all.iter().enumerate() {
            let covered = |path: &Path| mounted.iter().any(|mount| path.starts_with(mount));
            if covered(&need.path) && is_plain(&need.path) {
                continue;
            }
            let place = if stands(&root, &need.path) {
                need.path.clone()
            } else {
                let Some(path) = landing(&root, &need.path, covered) else { continue };
                if lacks(&root, &path) {
                    missing.push((index, Missing { path: path.clone(), kind: need.kind() }));
                }
                path
            };
            mounted.push(place);
        }
        missing
    }

    /// Makes the paths that the root at `root` lacks, as runc does: the engine makes neither a mount point behind a
    /// dangling link nor the directory in which the process starts. Without `mount_points` only that directory is made:
    /// root of a user namespace makes its own mount points.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn make_in(&self, root: &Path, mount_points: bool) -> Result<(), RootError> {
        let top = File::open(root).map_err(file("open", root))?;
        self.check_start(&top)?;
        let mut missing = self.lacking(&top);
        missing.retain(|(index, _)| mount_points || index + 1 == self.all.len());
        if missing.is_empty() {
            return Ok(());
        }
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |e| {
                let source = std::io::Error::other(e);
                RootError::File { step: "make the mount point or process.cwd", path, source }
            }
        };
        let opened = Root::open(root).map_err(fail(root))?;
        for (_, Missing { path, kind }) in &missing {
            let dir = if *kind == Kind::File { path.parent().unwrap_or(path) } else { path };
            opened.mkdir_all(dir, &Permissions::from_mode(0o755)).map_err(fail(dir))?;
            if *kind == Kind::File {
                let (flags, mode) =
                    (OpenFlags::O_WRONLY | OpenFlags::O_NOFOLLOW, Permissions::from_mode(0o644));
                opened.create_file(path, flags, &mode).map_err(fail(path))?;
            }
        }
        Ok(())
    }

    /// Checks that no file is mounted on a directory of the root, and no directory on a file: for the first, the kernel
    /// only says EINVAL. If a message has "not a directory", Docker tells the user what to check.
    ///
    /// # Errors
    /// [`RootError::Kinds`], [`RootError::File`].
    pub fn check_kinds(&self, root: &Path) -> Result<(), RootError> {
        let top = File::open(root).map_err(file("open", root))?;
        let mut mounted = Vec::<PathBuf>::new();
        for need in self.all.split_last().map_or(&[][..], |(_, mounts)| mounts) {
            let covered = |path: &Path| mounted.iter().any(|mount| path.starts_with(mount));
            let Some(place) = landing(&top, &need.path, covered) else { continue };
            if need.source.as_ref().is_some_and(|source| !source.exists()) {
                // The engine reports this.
                continue;
            }
            let wanted = need.kind() == Kind::Directory;
            let found = look_up(&top, &place).and_then(rustix::fs::fstat);
            let found = found.map(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
            if found.is_ok_and(|found| found != wanted) {
                let (what, destination) = (need.source.clone(), need.path.clone());
                return Err(RootError::Kinds { what, destination, wanted: need.kind() });
            }
            mounted.push(place);
        }
        Ok(())
    }

    /// Checks that process.cwd is not a file in the root.
    fn check_start(&self, root: &File) -> Result<(), RootError> {
        let Some((Need { path: start, .. }, mounts)) = self.all.split_last() else { return Ok(()) };
        if mounts.iter().any(|mount| start.starts_with(&mount.path)) {
            return Ok(());
        }
        match look_up(root, start).map(rustix::fs::fstat) {
            Ok(Ok(stat)) if !FileType::from_raw_mode(stat.st_mode).is_dir() => {
                let error = ErrorKind::NotADirectory.into();
                Err(file("start in process.cwd:", start)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory in which the process starts if it is in a volume. In a read-only volume that is not
    /// possible.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn make_start_in_volume(&self) -> Result<(), RootError> {
        let Some((Need { path: start, .. }, mounts)) = self.all.split_last() else { return Ok(()) };
        let covers = |mount: &&Need| start.starts_with(&mount.path);
        let Some(Need { path, source: Some(source), writable: true }) =
            mounts.iter().rfind(covers).filter(|_| is_plain(start))
        else {
            return Ok(());
        };
        let below = start.strip_prefix(path).unwrap_or(start);
        if below.as_os_str().is_empty() || !source.is_dir() {
            return Ok(());
        }
        let made = Root::open(source)
            .and_then(|volume| volume.mkdir_all(below, &Permissions::from_mode(0o755)));
        made.map(drop)
            .map_err(|e| file("make process.cwd in the volume", &source.join(below))(in_words(e)))
    }
}

/// The kernel's error alone, if there is one: libpathrs adds structures in Rust's debug form.
fn in_words(error: pathrs::error::Error) -> std::io::Error {
    match error.kind() {
        pathrs::error::ErrorKind::OsError(Some(errno)) => std::io::Error::from_raw_os_error(errno),
        _ => std::io::Error::other(error),
    }
}

impl Need {
    fn kind(&self) -> Kind {
        let is_file =
            |source: &PathBuf| std::fs::metadata(source).is_ok_and(|found| !found.is_dir());
        if self.source.as_ref().is_some_and(is_file) { Kind::File } else { Kind::Directory }
    }
}

/// A device whose node would be made in the root and not in a mount, or a `/dev` in the root, which engines fill: that
/// needs a private rootfs.
#[must_use]
pub fn device_in_root(spec: &Spec) -> Option<&Path> {
    let dev = Path::new("/dev");
    if !spec.mounts().iter().flatten().any(|mount| mount.destination() == dev) {
        return Some(dev);
    }
    let devices = spec.linux().as_ref()?.devices().as_deref()?;
    let in_mount = |path: &Path| {
        let mut mounts = spec.mounts().iter().flatten();
        mounts.any(|mount| path.starts_with(mount.destination()))
    };
    devices.iter().map(|device| device.path().as_path()).find(|path| !in_mount(path))
}

/// A bind mount, as the engines recognise one.
pub(super) fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    mount.typ().as_deref() == Some("bind")
        || options.iter().any(|option| option == "bind" || option == "rbind")
}

/// Whether the path can be made. Below a file or an endless link it cannot.
fn lacks(root: impl AsFd, path: &Path) -> bool {
    look_up(root, path).is_err_and(|errno| errno == Errno::NOENT)
}

fn look_up(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    Resolve::Root.open(root, path, OFlags::PATH)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_device_in_the_root() {
        let with = |path: &str| {
            let device = serde_json::json!({"path": path, "type": "c", "major": 1, "minor": 5});
            let spec = serde_json::json!({
                "ociVersion": "1.2.0",
                "mounts": [{"destination": "/dev", "type": "tmpfs"}],
                "linux": {"devices": [device]},
            });
            device_in_root(&serde_json::from_value(spec).unwrap()).is_some()
        };
        assert!(with("/odd/zero") && with("/device"));
        assert!(!with("/dev/zero") && !with("/dev/deep/zero"));
    }

    #[test]
    fn what_a_root_lacks() {
        let top = std::env::temp_dir().join(format!("sharedroot-needs-{}", std::process::id()));
        for dir in ["proc", "dev", "etc", "run", "var", "deep/er"] {
            fs::create_dir_all(top.join("root").join(dir)).unwrap();
        }
        let root = top.join("root");
        File::create(root.join("etc/file")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../etc", root.join("deep/up")).unwrap();
        symlink("/nowhere/there", root.join("dangling")).unwrap();
        symlink("round", root.join("round")).unwrap();
        File::create(top.join("a-file")).unwrap();
        let mounts = |list: &[(&str, Option<&str>)]| {
            let mount = |(at, source): &(&str, Option<&str>)| match source {
                Some(source) => serde_json::json!(
                    {"destination": at, "source": source, "options": ["rbind"]}
                ),
                None => serde_json::json!({"destination": at, "type": "tmpfs"}),
            };
            let spec = serde_json::json!({
                "ociVersion": "1.2.0",
                "mounts": list.iter().map(mount).collect::<Vec<_>>(),
                "process": {"cwd": "/work", "args": ["x"], "user": {"uid": 0, "gid": 0}},
            });
            let spec: Spec = serde_json::from_value(spec).unwrap();
            let missing = Needs::of(&spec, &top).missing(File::open(&root).unwrap());
            let text = |m: Missing| format!("{} {:?}", m.path.display(), m.kind);
            missing.into_iter().map(text).collect::<Vec<_>>().join(", ")
        };
        let work = "/work Directory";
        for (list, wanted) in [
            (&[("/proc", None), ("/dev", None), ("/dev/shm", None)][..], work),
            (&[("/etc/file", Some("a-file")), ("/etc", None)], work),
            (&[("/data/a", Some("."))], "/data/a Directory, /work Directory"),
            (&[("/data/a", Some("a-file"))], "/data/a File, /work Directory"),
            (&[("/data/a", Some("no-such"))], "/data/a Directory, /work Directory"),
            // A later mount is below an earlier mount. The earlier mount existed before a later mount covered it.
            (&[("/data", None), ("/data/a", None)], "/data Directory, /work Directory"),
            (&[("/etc/a", None), ("/etc", None)], "/etc/a Directory, /work Directory"),
            (&[("/run", None), ("/var/run/x", None)], work),
            (&[("/work", None)], work),
            (&[("/", None), ("/x", None)], ""),
            // The paths are resolved as in the container, whatever the image's links say.
            (&[("/var/run/x", None)], "/run/x Directory, /work Directory"),
            (&[("/deep/up/x", None)], "/etc/x Directory, /work Directory"),
            (&[("/deep/../x/./y/", None)], "/work Directory, /x/y Directory"),
            (&[("/dangling", None)], "/nowhere/there Directory, /work Directory"),
            (
                &[("/dangling/x", None), ("/nowhere/there/x/y", None)],
                "/nowhere/there/x Directory, /work Directory",
            ),
            (&[("/../../x", None), ("x", None)], "/work Directory, /x Directory"),
            // Nothing can be made at these paths, and the engine reports that.
            (&[("/round", None), ("/round/x", None), ("/etc/file/x", None)], work),
        ] {
            assert_eq!(mounts(list), wanted, "{list:?}");
        }
        fs::remove_dir_all(top).unwrap();
    }
}
