//! What the engine would do outside of the root, because of a link of the image or of a volume.
//!
//! libcontainer places mounts by descriptor, but makes the links of `/dev` (and, on cgroup v1, those
//! of the controllers) by path and device nodes by a path that it checked before. So where such a
//! path can lead out of the root, the container is refused (CVE-2026-41579, CVE-2026-47766;
//! CVE-2024-45310 for devices).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, Mount, Spec};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{RootfsError, file};

/// Refuses a root in which the engine would follow a link on its way to `/dev` or to a cgroup mount, and devices
/// that lie in a volume, where somebody else may put a link meanwhile.
///
/// `root` must be what the container gets, with everything mounted over it.
///
/// # Errors
/// [`RootfsError::Link`], [`RootfsError::DeviceInVolume`], [`RootfsError::File`].
pub fn refuse_links(root: &Path, spec: &Spec) -> Result<(), RootfsError> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref());
    if let Some(error) = device_in_volume(devices.unwrap_or_default(), mounts) {
        return Err(error);
    }
    let top = File::open(root).map_err(file("open", root))?;
    let cgroups = mounts.iter().filter(|mount| mount.typ().as_deref() == Some("cgroup"));
    let by_path = cgroups.map(|mount| mount.destination().as_path());
    for path in by_path.chain([Path::new("/dev")]) {
        let below = path.strip_prefix("/").unwrap_or(path);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(&top, below, flags, Mode::empty(), resolve) {
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::LOOP) => return Err(RootfsError::Link { path: path.to_owned() }),
            Err(errno) => return Err(file("look up in the root:", path)(io::Error::from(errno))),
        }
    }
    Ok(())
}

/// The first device whose node would be made in a directory of a bind mount.
fn device_in_volume(devices: &[LinuxDevice], mounts: &[Mount]) -> Option<RootfsError> {
    let volumes: Vec<&PathBuf> = mounts
        .iter()
        .filter(|mount| {
            let options = mount.options().as_deref().unwrap_or_default();
            let bind = options.iter().any(|option| option == "bind" || option == "rbind");
            // In one at `/dev` the engine makes nothing (`engine/dev.rs`).
            bind && mount.destination().components().ne(Path::new("/dev").components())
        })
        .map(Mount::destination)
        .collect();
    devices.iter().enumerate().find_map(|(at, device)| {
        let parent = device.path().parent()?;
        // Also in the top of a volume: the engine gives the node away by its path, and chown(2) follows a link.
        let volume = volumes.iter().find(|volume| parent.starts_with(volume))?;
        Some(RootfsError::DeviceInVolume {
            at,
            path: device.path().clone(),
            volume: (*volume).clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.2.0",{text}}}"#)).unwrap()
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        let root = std::env::temp_dir().join(format!("sharedroot-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("real/cgroup")).unwrap();
        symlink("real", root.join("sys")).unwrap();
        let plain = spec(r#""mounts":[]"#);
        let v1 = r#""mounts":[{"destination":"/sys/cgroup","type":"cgroup","source":"cgroup"}]"#;
        refuse_links(&root, &plain).unwrap();
        let refused = refuse_links(&root, &spec(v1)).unwrap_err().to_string();
        assert!(refused.contains("/sys/cgroup"), "{refused}");
        symlink("real", root.join("dev")).unwrap();
        let refused = refuse_links(&root, &plain).unwrap_err().to_string();
        assert!(refused.contains("/dev"), "{refused}");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_device_in_a_volume_is_refused() {
        let with = |destination: &str, options: &str| {
            let spec = spec(&format!(
                r#""mounts":[{{"destination":"{destination}","source":"/v","options":["{options}"]}}],
                   "linux":{{"devices":[{{"path":"/dev/a/b","type":"c","major":1,"minor":3}}]}}"#
            ));
            let devices = spec.linux().as_ref().unwrap().devices().clone().unwrap();
            device_in_volume(&devices, spec.mounts().as_ref().unwrap()).map(|e| e.to_string())
        };
        assert!(with("/dev/a", "rbind").unwrap().starts_with("linux.devices[0]"));
        assert!(with("/", "bind").is_some());
        for at in ["/dev", "/dev/"] {
            assert_eq!(with(at, "bind"), None, "nothing is made there");
        }
        assert_eq!(with("/dev", "nosuid"), None, "a tmpfs is the container's own");
        assert_eq!(with("/dev/ab", "bind"), None);
    }
}
