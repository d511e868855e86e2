//! The base of an image: made once, sealed, mounted once, whoever comes first.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sharedroot_dm::{Phase, Pool};

use super::{RootfsError, Storage, file};
use crate::image::{self, BaseKey, Image};
use crate::label::{self, SharedLabel};
use crate::mount::{self, Setting};
use crate::record::private_dir;

/// Options of every read-only mount of a base: never write, not even a journal's replay.
const SEALED: [Setting<'static>; 1] = [Setting::Flag("noload")];

impl Storage {
    /// The mount of the image's base and its device number, made and mounted if this is its first
    /// container.
    ///
    /// Where it is mounted already this is one statx(2): no lock, no store, no device-mapper.
    ///
    /// # Errors
    /// [`RootfsError`]; nothing is left of what was begun.
    pub(super) fn mounted_base(&self, image: &Image) -> Result<(PathBuf, (u32, u32)), RootfsError> {
        let at = self.base_mount(&image.key);
        if let Some(device) = mount::device_mounted_at(&at) {
            return Ok((at, device));
        }
        let _single_flight = self.lock_base(&image.key)?;
        if let Some(device) = mount::device_mounted_at(&at) {
            return Ok((at, device));
        }
        let pool = Pool::open(&self.pool)?;
        self.ensure_base(&pool, image)?;
        let name = Self::base_volume(&image.key)?;
        let active = pool.activate(&name)?;
        let mounted = mount_base(&active.device, &at);
        if mounted.is_err()
            && let Err(error) = pool.deactivate(&name)
        {
            tracing::warn!("{error}");
        }
        mounted.map(|()| (at, (active.major, active.minor)))
    }

    /// Makes the sealed volume of the image's base unless it is there. The caller holds the
    /// base's lock.
    fn ensure_base(&self, pool: &Pool, image: &Image) -> Result<(), RootfsError> {
        let name = Self::base_volume(&image.key)?;
        if pool.volume(&name)?.is_some_and(|volume| volume.phase == Phase::Ready) {
            return Ok(());
        }
        tracing::info!("making the base of {}", image.key);
        let fail = |source| RootfsError::Make { key: image.key.clone(), source };
        let scratch = self.pool.run_dir.join("making").join(image.key.to_string());
        let volume = pool.create_volume(&name, self.base_size)?;
        let tree = image::assemble(image, &scratch).map_err(fail)?;
        image::make_filesystem(&tree, &image.key, volume.device(), self.base_size.0)
            .map_err(fail)?;
        drop(tree);
        volume.seal()?;
        Ok(())
    }

    /// The sealed base for a snapshot; it need not be mounted.
    pub(super) fn snapshot_base(&self, pool: &Pool, image: &Image) -> Result<(), RootfsError> {
        let name = Self::base_volume(&image.key)?;
        if pool.volume(&name)?.is_some_and(|volume| volume.phase == Phase::Ready) {
            return Ok(());
        }
        let _single_flight = self.lock_base(&image.key)?;
        self.ensure_base(pool, image)
    }

    /// Unmounts and deletes a base that no record names. A container that was just being created
    /// from it fails or makes it anew; one that runs keeps its mount, and the device is busy.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn remove_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let _single_flight = self.lock_base(key)?;
        self.detach_base(key)?;
        Pool::open(&self.pool)?.delete(&Self::base_volume(key)?)?;
        Ok(())
    }

    /// Unmounts a base that no record names; its volume stays.
    pub(super) fn unmount_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let _single_flight = self.lock_base(key)?;
        self.detach_base(key)
    }

    fn detach_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let at = self.base_mount(key);
        if mount::device_mounted_at(&at).is_some() {
            mount::detach(&at)?;
        }
        let _ = std::fs::remove_dir(&at);
        Ok(())
    }

    /// One process at a time makes and mounts the base of one image; the others wait here.
    fn lock_base(&self, key: &BaseKey) -> Result<Flock<File>, RootfsError> {
        let dir = self.pool.run_dir.join("lock");
        private_dir(&dir)?;
        let path = dir.join(format!("base-{key}"));
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(file("open", &path))?;
        Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, errno)| file("lock", &path)(errno.into()))
    }
}

/// Mounts a sealed base at `at`, under the shared label where SELinux is on.
fn mount_base(device: &Path, at: &Path) -> Result<(), RootfsError> {
    // A base holds set-uid programs of strangers: on the host only root may come near it.
    DirBuilder::new().recursive(true).mode(0o700).create(at).map_err(file("create", at))?;
    if let Some(bases) = at.parent() {
        let only_root = Permissions::from_mode(0o700);
        std::fs::set_permissions(bases, only_root).map_err(file("protect", bases))?;
    }
    let shared = label::enabled().then(SharedLabel::of_policy).transpose()?;
    let mut options = SEALED.to_vec();
    if let Some(shared) = &shared {
        options.push(Setting::Value("context", shared.as_mount_label().as_context()));
    }
    mount::block_device("ext4", device, true, &options)?.attach(at)?.keep();
    Ok(())
}
