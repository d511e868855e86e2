//! Devices that an engine would make in the root.

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};
use sharedroot_engine::Places;

/// A device whose node would be made in the root and not in a mount, or a `/dev` in the root, which engines fill: that
/// needs a private rootfs.
#[must_use]
pub fn device_in_root(spec: &Spec) -> Option<&Path> {
    let dev = Path::new("/dev");
    if !spec.mounts().iter().flatten().any(|mount| mount.destination() == dev) {
        return Some(dev);
    }
    let devices = spec.linux().as_ref()?.devices().as_deref()?;
    let mounts = Places::from_iter(spec.mounts().iter().flatten().map(Mount::destination));
    devices.iter().map(|device| device.path().as_path()).find(|path| mounts.over(path).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_does_not_grow_with_mounts_times_devices() {
        let mount = |n| serde_json::json!({"destination": format!("/common/way/m{n}")});
        let device = |n| serde_json::json!({"path": format!("/common/way/m{n}/d"), "type": "c", "major": 1, "minor": 3});
        let mut mounts: Vec<_> = (0..50_000).map(mount).collect();
        mounts.push(serde_json::json!({"destination": "/dev"}));
        let devices: Vec<_> = (0..50_000).map(device).collect();
        let spec = serde_json::json!({
            "ociVersion": "1.2.0", "mounts": mounts, "linux": {"devices": devices},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(device_in_root(&spec), None);
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

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
