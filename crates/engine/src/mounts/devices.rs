//! The configuration's devices, made in the container that waits for `start`, as runc makes them. The engine would make
//! only those in `/dev`, fail if a file is already there, and change each owner by path.
//!
//! Another container may write to the directory of a device, if that is in a volume, or a volume may cover `/dev`. So
//! no operation uses a path that could change: each node is checked again before its owner is changed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Spec};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;

use super::dev;
use super::mount_ns::{self, MountNs, MountNsError};
use super::places::Places;
use super::propagation;

/// A device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The container's mount namespace or its root cannot be entered.
    #[error("make devices")]
    Enter(#[from] MountNsError),
    /// One device cannot be made.
    #[error("linux.devices: make {path}")]
    Make {
        /// The path in the container.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// All devices of the configuration. The engine makes the usual devices by itself.
#[derive(Debug, Default)]
pub struct Devices {
    /// Devices in a mount of the container.
    mounted: Vec<LinuxDevice>,
    /// Devices in the container's root, if the root is read-only by the time that the container waits.
    in_root: Vec<LinuxDevice>,
    dev_is_mounted: bool,
    /// In a container with a user namespace, the engine binds the host's devices.
    pub left_to_engine: bool,
}

/// The links that the engine makes in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("kcore", "/proc/kcore"),
];

/// The devices that the engine makes by itself. All are character devices.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

impl Devices {
    /// Takes the devices from the configuration, so that the engine does not make them. In a user namespace no process
    /// may make a device, so the engine keeps them there.
    pub fn take(spec: &mut Spec) -> Self {
        let readonly = spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true));
        let mounts = || spec.mounts().iter().flatten().map(propagation::place);
        let (places, dev) = (Places::from_iter(mounts()), Path::new("dev"));
        // A volume at `/dev` already has its devices.
        let is_volume = dev::volume(spec).is_some();
        let is_dev = |at: Option<usize>| at.is_some_and(|at| places.path(at) == dev);
        let dev_is_mounted = mounts().any(|place| place == dev);
        let mut taken = Self { dev_is_mounted, ..Self::default() };
        let Some(linux) = spec.linux_mut() else { return taken };
        let namespaces = linux.namespaces().iter().flatten();
        if namespaces.into_iter().any(|one| one.typ() == LinuxNamespaceType::User) {
            taken.left_to_engine = true;
            return taken;
        }
        let mut seen = HashSet::new();
        for device in linux.devices().iter().flatten() {
            let path = device.path().strip_prefix("/").unwrap_or(device.path());
            // If two devices have the same path, the first one counts.
            if !seen.insert(path.to_owned()) {
                continue;
            }
            match places.over(path) {
                mount if is_dev(mount) && is_volume => {}
                None if readonly => taken.in_root.push(device.clone()),
                _ => taken.mounted.push(device.clone()),
            }
        }
        linux.set_devices(None);
        taken
    }

    /// Makes the devices of a read-only root, at `root`, before the root is read-only. If `/dev` is not a mount, also
    /// removes from it the files that the engine makes.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn make_in_root(&self, root: &Path) -> Result<(), DeviceError> {
        if self.in_root.is_empty() && self.dev_is_mounted {
            return Ok(());
        }
        mount_ns::below(root, |top| {
            if !self.dev_is_mounted {
                make_room(top);
            }
            make_all(top, &self.in_root)
        })?
    }

    /// Makes the other devices, in the container whose waiting init process is `pid`.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn make(&self, pid: i32) -> Result<(), DeviceError> {
        if self.mounted.is_empty() {
            return Ok(());
        }
        mount_ns::enter(pid, |top| make_all(top, &self.mounted))?
    }
}

/// Removes from the root's `/dev` the files that the engine is about to make: a root that was used before has them, and
/// the engine fails if a file exists. A file that differs from the engine's stays.
fn make_room(top: &MountNs) {
    let Ok(dev) = top.open(Path::new("/dev"), OFlags::DIRECTORY | OFlags::NOFOLLOW) else {
        return;
    };
    let remove = |name: &str| {
        let _ = rustix::fs::unlinkat(&dev, name, AtFlags::empty());
    };
    for (name, target) in LINKS {
        if rustix::fs::readlinkat(&dev, name, []).is_ok_and(|to| to.to_bytes() == target.as_bytes())
        {
            remove(name);
        }
    }
    for (name, major, minor) in NODES {
        let found = rustix::fs::statat(&dev, name, AtFlags::SYMLINK_NOFOLLOW);
        let same = found.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == makedev(major, minor)
        });
        if same {
            remove(name);
        }
    }
}

/// The caller's thread has a umask of its own.
fn make_all(top: &MountNs, devices: &[LinuxDevice]) -> Result<(), DeviceError> {
    rustix::process::umask(Mode::empty());
    devices.iter().try_for_each(|device| {
        let path = device.path().clone();
        make(top, device).map_err(|source| DeviceError::Make { path, source })
    })
}

/// An existing file stays, as with runc.
fn make(top: &MountNs, device: &LinuxDevice) -> io::Result<()> {
    let path = device.path();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ISDIR.into());
    };
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => FileType::CharacterDevice,
    };
    let number = |number: i64| u32::try_from(number).map_err(|_| io::Error::from(Errno::INVAL));
    let number = match kind {
        FileType::Fifo => 0,
        _ => makedev(number(device.major())?, number(device.minor())?),
    };
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    let dir = directory(top, parent)?;
    match rustix::fs::mknodat(&dir, name, kind, mode, number) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    give(&dir, name, (kind, number), (device.uid().unwrap_or(0), device.gid().unwrap_or(0)))
}

/// Changes the owner of the node, if the node is still the one that was made.
fn give(
    dir: &OwnedFd,
    name: &OsStr,
    made: (FileType, u64),
    (uid, gid): (u32, u32),
) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&node)?;
    if (FileType::from_raw_mode(stat.st_mode), stat.st_rdev) != made {
        return Err(Errno::STALE.into());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}

/// Opens a directory of the container. Missing directories on the path are made.
fn directory(top: &MountNs, path: &Path) -> io::Result<OwnedFd> {
    let mut ways: Vec<_> = path.ancestors().collect();
    ways.reverse();
    let mut here = top.open(Path::new("/"), OFlags::DIRECTORY)?;
    for way in ways {
        let open = || top.open(way, OFlags::DIRECTORY);
        here = match (open(), way.file_name()) {
            (Err(Errno::NOENT), Some(name)) => {
                rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755))?;
                open()?
            }
            (opened, _) => opened?,
        };
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_is_made_where_it_can_be() {
        let taken = |readonly: bool, dev: &str, namespaces: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.2.0","root":{{"path":"/r","readonly":{readonly}}},"mounts":[
                    {{"destination":"/dev",{dev}}},
                    {{"destination":"/dev/pts","type":"devpts","source":"devpts"}},
                    {{"destination":"/v","source":"/v","options":["rbind"]}}],"linux":{{"namespaces":[{namespaces}],"devices":[
                    {{"path":"/dev/a","type":"c","major":1,"minor":3}},
                    {{"path":"/dev/a","type":"c","major":1,"minor":5}},
                    {{"path":"/dev/pts/9","type":"c","major":1,"minor":3}},
                    {{"path":"/v/x","type":"c","major":1,"minor":3}},
                    {{"path":"/etc/x","type":"c","major":1,"minor":3}}]}}}}"#
            );
            let mut spec: Spec = serde_json::from_str(&text).unwrap();
            let taken = Devices::take(&mut spec);
            let paths = |devices: &[LinuxDevice]| {
                devices.iter().map(|one| one.path().display().to_string()).collect::<Vec<_>>()
            };
            let engines = spec.linux().as_ref().unwrap().devices().clone().unwrap_or_default();
            [paths(&engines), paths(&taken.mounted), paths(&taken.in_root)]
        };
        let memory = r#""type":"tmpfs","source":"tmpfs""#;
        let [engines, mounted, in_root] = taken(true, memory, "");
        assert!(engines.is_empty());
        assert_eq!(mounted, ["/dev/a", "/dev/pts/9", "/v/x"]);
        assert_eq!(in_root, ["/etc/x"]);
        assert_eq!(taken(false, memory, "")[1], ["/dev/a", "/dev/pts/9", "/v/x", "/etc/x"]);
        let volume = r#""source":"/dev","options":["rbind"]"#;
        assert_eq!(taken(false, volume, "")[1], ["/dev/pts/9", "/v/x", "/etc/x"]);
        assert_eq!(taken(true, memory, r#"{"type":"user"}"#)[0].len(), 5);
    }
}
