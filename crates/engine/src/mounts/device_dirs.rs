//! The mode of directories of devices such as `/dev/net/tun` that the engine makes: in a container with a user
//! namespace. In other containers sharedroot makes the directories, with the right mode (`devices.rs`).
//!
//! The engine makes the directories with its umask cleared, so that every user of the container could exchange the
//! devices in them. Before the container's program runs, the directories get the mode that runc gives them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags, fchmod, fstat, openat};

use super::mount_ns::{self, MountNs, MountNsError};
use super::propagation::bind;

/// A directory of devices stays writable by every user.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The container's mount namespace cannot be entered.
    #[error("protect the directories of devices")]
    Enter(#[from] MountNsError),
    /// The mode of one directory cannot be changed.
    #[error("linux.devices: chmod the container's {path}")]
    Change {
        /// The path in the container.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// The mode that the engine gives the directories, and the mode that they get here.
const OPEN: u32 = 0o777;
const RIGHT: Mode = Mode::from_bits_retain(0o755);

/// Removes the write permission of others from the directories of devices, in the container whose waiting init process
/// is `pid`.
///
/// # Errors
/// [`DirectoryError`].
pub fn protect(spec: &Spec, pid: i32) -> Result<(), DirectoryError> {
    let all = directories(spec);
    if all.is_empty() {
        return Ok(());
    }
    mount_ns::enter(pid, |inside| {
        all.into_iter().try_for_each(|path| {
            close(inside, path)
                .map_err(|source| DirectoryError::Change { path: path.to_owned(), source })
        })
    })?
}

/// The directories that the engine may have made: those below a `/dev` that is a file system in memory of the
/// container.
fn directories(spec: &Spec) -> BTreeSet<&Path> {
    let dev = Path::new("/dev");
    let mut mounts = spec.mounts().iter().flatten();
    let own = mounts.rfind(|mount| mount.destination() == dev);
    if own.is_none_or(|dev| dev.typ().as_deref() != Some("tmpfs") || bind(dev).is_some()) {
        return BTreeSet::new();
    }
    let devices = spec.linux().iter().flat_map(|linux| linux.devices().iter().flatten());
    let above = devices.flat_map(|device| device.path().ancestors().skip(1));
    above.filter(|path| path.starts_with(dev) && *path != dev).collect()
}

/// Changes the mode of one directory. A directory on another file system, or with another mode, was not made by the
/// engine and stays as it is.
fn close(inside: &MountNs, path: &Path) -> io::Result<()> {
    let dev = inside.open(Path::new("/dev"), OFlags::DIRECTORY)?;
    let found = inside.open(path, OFlags::DIRECTORY)?;
    let (dev, is) = (fstat(&dev)?, fstat(&found)?);
    if is.st_dev != dev.st_dev || is.st_mode & 0o7777 != OPEN {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fchmod(openat(&found, ".", flags, Mode::empty())?, RIGHT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_engine_makes_in_memory_is_looked_at() {
        let of = |dev: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.2.0","mounts":[{{"destination":"/dev",{dev}}}],"linux":{{"devices":[
                    {{"path":"/dev/null","type":"c","major":1,"minor":3}},
                    {{"path":"/dev/a/b/node","type":"c","major":1,"minor":3}}]}}}}"#
            );
            let spec: Spec = serde_json::from_str(&text).unwrap();
            directories(&spec).into_iter().map(Path::to_owned).collect::<Vec<_>>()
        };
        let memory = r#""type":"tmpfs","source":"tmpfs""#;
        assert_eq!(of(memory), [Path::new("/dev/a"), Path::new("/dev/a/b")]);
        assert_eq!(
            of(r#""type":"bind","source":"/dev","options":["rbind"]"#),
            [""; 0].map(Path::new)
        );
        assert_eq!(of(r#""type":"tmpfs","options":["bind"]"#), [""; 0].map(Path::new));
    }
}
