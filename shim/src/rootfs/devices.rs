//! Devices that an engine would make in the root.

use std::path::Path;

use oci_spec::runtime::Spec;

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

#[cfg(test)]
mod tests {
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
}
