//! What a configuration needs in its rootfs: mount points, and the directory in which the process starts.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Mount, Spec};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use sharedroot_bases::{Kind, Missing};
use sharedroot_engine::Places;
use sharedroot_sys::resolve::Resolve;

use super::error::{RootError, file};
use super::landing::{Landings, is_plain};

/// The paths that must exist before the container's mounts are made, in the order of the mounts: a later mount can be
/// in an earlier one. The last path is the directory in which the process starts.
#[derive(Debug)]
pub struct Needs {
    pub(super) all: Vec<Need>,
    /// Whether the container has CAP_SYS_ADMIN. With this capability it can shut down the file system of its rootfs
    /// (`EXT4_IOC_SHUTDOWN` of ext4(5)), which must not be the base that other containers share.
    administers: bool,
}

#[derive(Debug)]
pub(super) struct Need {
    /// The path in the configuration.
    pub(super) path: PathBuf,
    /// The source of a bind mount, which decides whether the mount point is a file. All other mount points are
    /// directories.
    pub(super) source: Option<PathBuf>,
    /// Whether the path is a mount that may be written.
    pub(super) writable: bool,
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
    pub(super) fn lacking(&self, root: impl AsFd) -> Vec<(usize, Missing)> {
        let (landings, mut mounted, mut missing) =
            (Landings::below(&root), Places::default(), Vec::new());
        for (index, need) in self.all.iter().enumerate() {
            if is_plain(&need.path) && mounted.over(&need.path).is_some() {
                continue;
            }
            let place = if landings.stands(&need.path) {
                need.path.clone()
            } else {
                // A path that takes too long is refused where a failure can be reported.
                let Ok(Some(path)) = landings.led(&need.path, &mounted) else { continue };
                if lacks(&root, &path) {
                    missing.push((index, Missing { path: path.clone(), kind: need.kind() }));
                }
                path
            };
            mounted.add(place);
        }
        missing
    }

    /// Checks that no file is mounted on a directory of the root, and no directory on a file: for the first, the kernel
    /// only says EINVAL. If a message has "not a directory", Docker tells the user what to check.
    ///
    /// # Errors
    /// [`RootError::Kinds`], [`RootError::File`].
    pub fn check_kinds(&self, root: &Path) -> Result<(), RootError> {
        let top = File::open(root).map_err(file("open", root))?;
        let (landings, mut mounted) = (Landings::below(&top), Places::default());
        for need in self.all.split_last().map_or(&[][..], |(_, mounts)| mounts) {
            let Some(place) = landings.landing(&need.path, &mounted)? else { continue };
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
            mounted.add(place);
        }
        Ok(())
    }
}

impl Need {
    fn kind(&self) -> Kind {
        let is_file =
            |source: &PathBuf| std::fs::metadata(source).is_ok_and(|found| !found.is_dir());
        if self.source.as_ref().is_some_and(is_file) { Kind::File } else { Kind::Directory }
    }
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

pub(super) fn look_up(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    Resolve::Root.open(root, path, OFlags::PATH)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A look at each earlier mount would take 5·10^9 comparisons, of paths that begin alike.
    #[test]
    fn the_time_does_not_grow_with_the_square_of_the_mounts() {
        let top = std::env::temp_dir().join(format!("sharedroot-needs-n-{}", std::process::id()));
        fs::create_dir_all(top.join("common/way")).unwrap();
        let need =
            |n| Need { path: format!("/common/way/to/a{n}").into(), source: None, writable: true };
        let needs = Needs { all: (0..100_000).map(need).collect(), administers: false };
        let began = std::time::Instant::now();
        assert_eq!(needs.missing(File::open(&top).unwrap()).len(), 100_000);
        needs.check_kinds(&top).unwrap();
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        fs::remove_dir_all(top).unwrap();
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
