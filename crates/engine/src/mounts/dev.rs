//! A volume at `/dev`, which may be the host's own `/dev`. As with runc, no file is made in the volume (`needsSetupDev`
//! in runc's libcontainer/rootfs_linux.go).
//!
//! The engine always makes devices, links and a ptmx in `/dev`, by path and before the root is changed. In a volume,
//! another process could put a symbolic link there meanwhile, and chown(2) would change a file of the host. So the
//! engine gets an empty file system in memory that covers the volume. After the engine is done, that cover is removed,
//! and the mounts in it are moved into the volume.
//!
//! If `/dev` is to be read-only, in memory or a volume, the engine mounts it writable in order to make devices, and
//! leaves it writable. So it is made read-only here.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use libcontainer::syscall::linux::{AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, MountAttr};
use libcontainer::syscall::syscall::create_syscall;
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sharedroot_sys::mount::{self, Detached, MountError, Submounts};

use super::mount_ns::{self, MountNs, MountNsError};
use super::places::Places;
use super::propagation;

const DEV: &str = "/dev";
const PTS: &str = "/dev/pts";

/// The container could not get its volume at `/dev`.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The container's mount namespace cannot be entered.
    #[error("uncover the volume at /dev")]
    Enter(#[from] MountNsError),
    /// The cover cannot be removed, or a mount in it cannot be moved.
    #[error("uncover the volume at /dev")]
    Mount(#[from] MountError),
    /// The mount at `/dev` cannot be made read-only.
    #[error("make /dev read-only")]
    ReadOnly(#[source] std::io::Error),
    /// A mount point in the volume cannot be made.
    #[error("make the mount point {path} in the volume at /dev")]
    Place {
        /// The path in the container.
        path: PathBuf,
        /// The operating system's reason.
        source: Errno,
    },
}

/// The mount that the container has at `/dev`, if that mount is a volume.
pub fn volume(spec: &Spec) -> Option<(usize, &Mount)> {
    let mut mounts = spec.mounts().as_deref().unwrap_or_default().iter().enumerate();
    let last = mounts.rfind(|(_, mount)| propagation::place(mount) == Path::new("dev"));
    last.filter(|(_, mount)| propagation::bind(mount).is_some())
}

/// Covers the volume, so that the engine makes its devices in the cover.
pub fn cover(spec: &mut Spec) {
    let Some((index, dev)) = volume(spec) else { return };
    let mut cover = vec![mount("tmpfs", DEV, "tmpfs", &["nosuid", "mode=755"])];
    let places = || spec.mounts().iter().flatten().skip(index + 1).map(propagation::place);
    let terminal = spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true));
    if terminal && !places().any(|place| place == Path::new("dev/pts")) {
        // The engine's ptmx leads to /dev/pts. Docker mounts no file system below a volume at /dev, because the host's
        // /dev has its own pts.
        cover.push(match dev.source().as_deref().is_some_and(is_hosts) {
            true => mount("bind", PTS, PTS, &["bind"]),
            false => mount("devpts", PTS, "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]),
        });
    }
    if let Some(mounts) = spec.mounts_mut() {
        mounts.splice(index + 1..index + 1, cover);
    }
}

fn mount(typ: &str, at: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(at.into()).set_typ(Some(typ.to_owned())).set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

/// Whether a directory is the host's `/dev`.
fn is_hosts(source: &Path) -> bool {
    let of = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    of(source).is_some_and(|found| Some(found) == of(Path::new(DEV)))
}

/// Removes the cover in the container whose waiting init process is `pid`, and moves the mounts in it into the volume:
/// those of the configuration `spec`, and the terminal's.
///
/// # Errors
/// [`DevError`].
pub fn uncover(spec: &Spec, pid: i32) -> Result<(), DevError> {
    let below = below(spec);
    mount_ns::enter(pid, |inside| {
        let mut moved: Vec<(&Path, Detached)> = Vec::new();
        for path in below.iter().filter(|path| mount::device_mounted_at(path).is_some()) {
            moved.push((path, mount::bind_volume(path, Submounts::Included)?));
        }
        mount::detach(Path::new(DEV))?;
        for (path, mount) in moved {
            let kind =
                if mount.is_directory() { FileType::Directory } else { FileType::RegularFile };
            let place = place(inside, path, kind)
                .map_err(|source| DevError::Place { path: path.to_owned(), source })?;
            mount.cover(&place, path)?;
        }
        Ok(())
    })?
}

/// Makes `/dev` read-only if its mount says so. The container's waiting init process is `pid`, and the engine has made
/// all its files there. As with runc the mount becomes read-only, not the file system.
///
/// # Errors
/// [`DevError`].
pub fn protect(spec: &Spec, pid: i32) -> Result<(), DevError> {
    if !is_read_only(spec) {
        return Ok(());
    }
    let change =
        MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    mount_ns::enter(pid, |inside| {
        let dev = inside.open(Path::new(DEV), OFlags::DIRECTORY).map_err(std::io::Error::from)?;
        create_syscall()
            .mount_setattr(
                dev.as_fd(),
                Path::new(""),
                AT_EMPTY_PATH,
                &change,
                size_of::<MountAttr>(),
            )
            .map_err(std::io::Error::other)
    })?
    .map_err(DevError::ReadOnly)
}

/// Whether the last mount at `/dev` is to be read-only. If `ro` and `rw` are given several times, the last one counts.
fn is_read_only(spec: &Spec) -> bool {
    let mut mounts = spec.mounts().iter().flatten();
    let dev = mounts.rfind(|mount| propagation::place(mount) == Path::new("dev"));
    let options = dev.and_then(|dev| dev.options().as_deref()).unwrap_or_default();
    options
        .iter()
        .rfind(|option| ["ro", "rw"].contains(&option.as_str()))
        .is_some_and(|o| o == "ro")
}

/// The places of the mounts in `/dev`, without those that lie below another of them.
fn below(spec: &Spec) -> Vec<PathBuf> {
    let after = volume(spec).map_or(0, |(index, _)| index + 1);
    let later = spec.mounts().iter().flatten().skip(after).map(propagation::place);
    let (mut found, mut places) = (Vec::new(), Places::default());
    for place in later.chain([PathBuf::from("dev/console")]) {
        let place = Path::new("/").join(place);
        let is_new = places.over(&place).is_none();
        if is_new && place.starts_with(DEV) && place != Path::new(DEV) {
            places.add(place.clone());
            found.push(place);
        }
    }
    found
}

/// Opens the place of a mount in the volume, one path component after another, without following a symbolic link.
/// Missing components are made.
fn place(inside: &MountNs, path: &Path, kind: FileType) -> Result<OwnedFd, Errno> {
    let mut here = inside.open(Path::new(DEV), OFlags::DIRECTORY)?;
    let names: Vec<&OsStr> = path
        .strip_prefix(DEV)
        .unwrap_or(path)
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    for (at, name) in names.iter().enumerate() {
        let wanted = if at + 1 < names.len() { FileType::Directory } else { kind };
        let open = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&here, *name, flags, Mode::empty())
        };
        let next = match open() {
            Err(Errno::NOENT) => {
                make(&here, name, wanted)?;
                open()?
            }
            opened => opened?,
        };
        let found = FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode);
        if found == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        here = next;
    }
    Ok(here)
}

fn make(dir: &OwnedFd, name: &OsStr, kind: FileType) -> Result<(), Errno> {
    if kind == FileType::Directory {
        return rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755));
    }
    rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o644), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mounts: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.2.0","mounts":[{mounts}]}}"#)).unwrap()
    }

    #[test]
    fn the_last_mount_at_dev_says_whether_it_is_read_only() {
        let dev = |options: &str| format!(r#"{{"destination":"/dev","options":[{options}]}}"#);
        for (mounts, is) in [
            (dev(r#""nosuid","ro""#), true),
            (dev(r#""ro","rw""#), false),
            (dev(""), false),
            (format!("{},{}", dev(r#""ro""#), dev("")), false),
            (format!("{},{}", dev(""), dev(r#""rbind","ro""#)), true),
            (r#"{"destination":"/dev/x","options":["ro"]}"#.to_owned(), false),
        ] {
            assert_eq!(is_read_only(&spec(&mounts)), is, "{mounts}");
        }
    }

    #[test]
    fn only_a_volume_at_dev_itself_is_covered() {
        let bind =
            |at: &str| format!(r#"{{"destination":"{at}","source":"/v","options":["rbind"]}}"#);
        let memory = r#"{"destination":"/dev","type":"tmpfs","source":"tmpfs"}"#;
        for mounts in [memory.to_owned(), bind("/dev/a"), format!("{},{memory}", bind("/dev"))] {
            let mut covered = spec(&mounts);
            cover(&mut covered);
            assert_eq!(covered, spec(&mounts));
        }
        for at in ["/dev", "/dev/", "/./dev"] {
            let pts = r#"{"destination":"/dev/pts","type":"devpts","source":"devpts"}"#;
            let mut covered = spec(&format!("{memory},{},{pts},{}", bind(at), bind("/dev/pts/x")));
            cover(&mut covered);
            let mounts = covered.mounts().as_ref().unwrap();
            assert_eq!((mounts[2].typ().as_deref(), mounts.len()), (Some("tmpfs"), 5));
            let terminal = r#""process":{"terminal":true,"cwd":"/","user":{"uid":0,"gid":0}}"#;
            let text = format!(r#"{{"ociVersion":"1.2.0",{terminal},"mounts":[{}]}}"#, bind(at));
            let mut covered: Spec = serde_json::from_str(&text).unwrap();
            cover(&mut covered);
            let pts = covered.mounts().as_ref().unwrap().last().unwrap().clone();
            assert_eq!(
                (pts.destination().as_path(), pts.typ().as_deref()),
                (Path::new(PTS), Some("devpts"))
            );
            let pts = r#"{"destination":"/dev/pts","type":"devpts","source":"devpts"}"#;
            let below = below(&spec(&format!("{},{pts},{}", bind(at), bind("/dev/pts/x"))));
            assert_eq!(below, [Path::new("/dev/pts"), Path::new("/dev/console")]);
        }
    }
}
