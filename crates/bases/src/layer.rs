//! The volume of a layer as a base: the snapshotter (`snapshotter/`) has unpacked an image into it, and mounts it where a base is
//! mounted. So containers use it as any other base: they hold leases of it, and scaffolds are put above it.
//!
//! | fact | what tells it |
//! |---|---|
//! | which volume a root shows | the name of the device that is mounted there, which is the kernel's |
//! | whether that volume is shared | it is mounted at the place of its base, which only root can reach |
//!
//! The key of such a base follows from the name of its volume. No image has a key of that kind, so no container gets such a base
//! by its image.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sharedroot_dm::{ActiveVolume, Bytes};
use sharedroot_format::{BaseKey, PoolName, VolumeName};
use sharedroot_image::Image;
use sharedroot_sys::mount;

use crate::bases::Bases;
use crate::error::RootfsError;

/// The inode of the top of an ext4 file system (fs/ext4/ext4.h, `EXT4_ROOT_INO`).
const TOP: u64 = 2;

/// A root that the snapshotter gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerRoot {
    /// A base that other containers share.
    Shared(Image),
    /// A snapshot of this container alone, or a view of a layer.
    Own {
        /// Its volume.
        volume: VolumeName,
        /// The size of its device.
        size: Bytes,
        /// Whether its device is read-only, so that others may show the same layer.
        is_sealed: bool,
    },
}

impl Bases {
    /// Mounts the sealed volume of a layer as a base, if it is not mounted there. Returns the place.
    ///
    /// # Errors
    /// [`RootfsError`], also where the policy names no label for bases, or where the volume is mounted with another label.
    pub fn share_layer(
        &self,
        volume: &VolumeName,
        active: &ActiveVolume,
    ) -> Result<PathBuf, RootfsError> {
        let key = BaseKey::of_layer(volume);
        let at = self.base_mount(&key);
        let lock = self.lock_base(&key)?;
        match mount::device_mounted_at(&at) {
            Some(device) if device == (active.major, active.minor) => return Ok(at),
            Some(_) => mount::detach(&at)?,
            None => {}
        }
        let label = self.labels().shared()?;
        self.mount_base(&lock, &active.device, &at, label)?;
        Ok(at)
    }

    /// Whether the volume of a layer is mounted as a base.
    #[must_use]
    pub fn is_shared_layer(&self, volume: &VolumeName) -> bool {
        mount::device_mounted_at(&self.base_mount(&BaseKey::of_layer(volume))).is_some()
    }

    /// Takes away the mount of a layer as a base, with the scaffolds above it. Containers keep their own mounts.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn unshare_layer(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        match self.is_shared_layer(volume) {
            true => self.unmount_base(&BaseKey::of_layer(volume)),
            false => Ok(()),
        }
    }

    /// What the snapshotter mounted at `root_path`; none if it mounted nothing there.
    #[must_use]
    pub fn layer_at(&self, root_path: &Path) -> Option<LayerRoot> {
        let (major, minor) = mount::device_mounted_at(root_path)?;
        let of_device = |what: &str| {
            let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{what}")).ok()?;
            Some(text.trim_end().to_owned())
        };
        let volume = layer_of_device(&self.config().pool.name, &of_device("dm/name")?)?;
        // A bind of a directory in a layer is no root of the snapshotter's.
        if fs::symlink_metadata(root_path).ok()?.ino() != TOP {
            return None;
        }
        let key = BaseKey::of_layer(&volume);
        if mount::device_mounted_at(&self.base_mount(&key)) == Some((major, minor)) {
            return Some(LayerRoot::Shared(Image::of_base(key)));
        }
        let size = Bytes(of_device("size")?.parse::<u64>().ok()?.checked_mul(512)?);
        Some(LayerRoot::Own { volume, size, is_sealed: of_device("ro")? != "0" })
    }
}

/// The layer whose device has this name.
fn layer_of_device(pool: &PoolName, name: &str) -> Option<VolumeName> {
    // A pool's name has no hyphen, so the volume's name is everything after the second one.
    let volume: VolumeName = name.splitn(3, '-').nth(2)?.parse().ok()?;
    (volume.is_layer() && pool.device_of(&volume) == name).then_some(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_leads_to_its_layer() {
        let pool: PoolName = "data".parse().unwrap();
        let layer = |name: &str| layer_of_device(&pool, name).map(|volume| volume.to_string());
        let name = "sharedroot-data-layer-0000abcd-7";
        assert_eq!(layer(name).as_deref(), Some("layer-0000abcd-7"));
        for other in [
            "sharedroot-other-layer-0000abcd-7",
            "sharedroot-data-layer-0000abcd-07",
            "sharedroot-data-layer-abcd-7",
            "sharedroot-data-base-layer-0000abcd-7",
            "sharedroot-data-private-0000abcd",
            "x-data-layer-0000abcd-7",
            "sharedroot-data",
            "",
        ] {
            assert_eq!(layer(other), None, "{other}");
        }
    }

    #[test]
    fn a_directory_is_no_root_of_a_layer() {
        let dir = tempfile::tempdir().unwrap();
        let pool = sharedroot_dm::PoolConfig::on_loop(
            "data".parse().unwrap(),
            dir.path().join("state"),
            dir.path().join("run"),
        );
        let config =
            crate::Config { pool, base_size: Bytes::gib(1), base_wait: true, shared_label: None };
        let bases = Bases::new(config);
        for path in [dir.path(), Path::new("/"), Path::new("/proc"), Path::new("/no/such")] {
            assert_eq!(bases.layer_at(path), None, "{}", path.display());
        }
        let volume = "layer-00000001-1".parse().unwrap();
        assert!(!bases.is_shared_layer(&volume));
        bases.unshare_layer(&volume).unwrap();
    }
}
