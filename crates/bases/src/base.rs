//! The base of an image. The first container of the image makes the base, seals it and mounts it; later containers use that
//! mount.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sharedroot_dm::{Bytes, NewVolume};
use sharedroot_format::{BaseKey, VolumeName};
use sharedroot_image::{self as image, Image, MakeError, Source, Tree};
use sharedroot_label::SharedLabel;
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{self, Access, Detached, Setting};
use sharedroot_sys::step::step;

use super::base_lock::BaseLock;
use super::labels::context;
use crate::bases::Bases;
use crate::error::{RootfsError, file};
use crate::not_shared::NotShared;

/// Options of every read-only mount of a base: ext4 writes nothing, and does not replay the journal.
const SEALED: [Setting<'static>; 1] = [Setting::Flag("noload")];

/// A base and its mount point.
#[derive(Debug)]
pub(super) struct MountedBase<'a> {
    /// The image's key.
    pub key: &'a BaseKey,
    /// The mount point of the base.
    pub at: PathBuf,
    /// The device number of the base.
    pub device: (u32, u32),
}

impl MountedBase<'_> {
    /// Checks that the base is still mounted. While the base is locked, nobody unmounts it.
    pub fn check(&self, _stays: &BaseLock) -> Result<(), RootfsError> {
        let there = mount::device_mounted_at(&self.at) == Some(self.device);
        if there { Ok(()) } else { Err(self.removed()) }
    }

    /// The error for a base that an administrator removed meanwhile.
    pub fn removed(&self) -> RootfsError {
        RootfsError::BaseRemoved { key: self.key.clone() }
    }

    /// Makes the error for a failed attempt to put `path` above the base. The error of a removed base passes unchanged.
    pub fn cannot_carry(&self, path: &Path) -> impl FnOnce(RootfsError) -> RootfsError {
        let (key, path) = (self.key.clone(), path.to_owned());
        move |error| match error {
            RootfsError::BaseRemoved { .. } | RootfsError::Containers(_) => error,
            source => NotShared::Scaffold { key, path, source: Box::new(source) }.into(),
        }
    }
}

impl Bases {
    /// The base whose own mount is at `root_path`: a bundle may name a base's mount as its root.
    #[must_use]
    pub fn base_at(&self, root_path: &Path) -> Option<Image> {
        let key: BaseKey = root_path.file_name()?.to_str()?.parse().ok()?;
        let is_there =
            self.base_mount(&key) == root_path && mount::device_mounted_at(root_path).is_some();
        is_there.then(|| Image::of_base(key))
    }

    /// The image's base. Makes and mounts the base if this container is the image's first.
    ///
    /// For a base that is mounted already this is one statx(2): no lock, no store, no device-mapper.
    ///
    /// # Errors
    /// [`RootfsError`]; an unfinished base and its mount are removed.
    pub(super) fn mounted_base<'a>(
        &self,
        image: &'a Image,
    ) -> Result<MountedBase<'a>, RootfsError> {
        let (key, at) = (&image.key, self.base_mount(&image.key));
        if let Some(device) = mount::device_mounted_at(&at) {
            return Ok(MountedBase { key, at, device });
        }
        let waits = step("wait for the base's lock");
        let lock = self.lock_base_if_wanted(key)?;
        drop(waits);
        if let Some(device) = mount::device_mounted_at(&at) {
            return Ok(MountedBase { key, at, device });
        }
        // Asked first, so that no base is made that could not be mounted.
        let label = self.labels().shared()?;
        let pool = self.pool()?;
        self.ensure_base(&lock, image)?;
        // The engine may have moved its store since the base was made.
        self.catalog().note_origin(image)?;
        let name = VolumeName::of_base(&image.key);
        let _step = step("activate and mount the base");
        let active = pool.activate(&name)?;
        let mounted = self.mount_base(&lock, &active.device, &at, label);
        if mounted.is_err()
            && let Err(error) = pool.deactivate(&name)
        {
            tracing::warn!("{}", chain(&error));
        }
        let device = (active.major, active.minor);
        mounted.map(|()| MountedBase { key, at, device })
    }

    /// Makes the sealed volume of the image's base unless that volume exists.
    fn ensure_base(&self, lock: &BaseLock, image: &Image) -> Result<(), RootfsError> {
        if self.pool()?.ready(&VolumeName::of_base(&image.key))?.is_some() {
            return Ok(());
        }
        if image.source == Source::Base {
            return Err(RootfsError::BaseRemoved { key: image.key.clone() });
        }
        tracing::info!("making the base of {}", image.key);
        let _step = step("make the base");
        self.catalog().note_origin(image)?;
        let scratch = self.run_dir().join("making").join(image.key.to_string());
        let tree = self.tree_of(image, &scratch)?;
        self.fill_base(lock, image, &tree, |_| Ok(()))?.seal()?;
        Ok(())
    }

    /// Merges the layers of an image into a tree that a base can hold. `scratch` is made for the tree.
    pub(super) fn tree_of(&self, image: &Image, scratch: &Path) -> Result<Tree, RootfsError> {
        let tree = image::assemble(image, scratch).map_err(not_made(image))?;
        tree.usage(self.config().base_size.0).map_err(not_made(image))?;
        Ok(tree)
    }

    /// Makes the volume of the image's base, and fills it from the image's tree. Before anything is written, `has_room` is called
    /// with the number of bytes that the base takes.
    pub(super) fn fill_base(
        &self,
        _only_maker: &BaseLock,
        image: &Image,
        tree: &Tree,
        has_room: impl FnOnce(Bytes) -> Result<(), RootfsError>,
    ) -> Result<NewVolume<'_>, RootfsError> {
        let size = self.config().base_size;
        let bytes = Bytes(tree.usage(size.0).map_err(not_made(image))?.bytes);
        has_room(bytes)?;
        let pool = self.with_room(|pool| pool.make_room(bytes).map(|()| pool))?;
        let volume = pool.create_volume(&VolumeName::of_base(&image.key), size)?;
        image::make_filesystem(tree, &image.key, volume.device(), size.0)
            .map_err(not_made(image))?;
        Ok(volume)
    }

    /// Makes sure that a sealed base exists, of which a snapshot can be taken. The base need not be mounted.
    pub(super) fn snapshot_base(&self, image: &Image) -> Result<(), RootfsError> {
        if self.pool()?.ready(&VolumeName::of_base(&image.key))?.is_some() {
            return Ok(());
        }
        let lock = self.lock_base_if_wanted(&image.key)?;
        self.ensure_base(&lock, image)
    }

    /// Mounts the base detached, so that this process alone can read it; [`Self::look_away`] ends the reading. `None` if there
    /// is no such base.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub(super) fn look_at_base(&self, key: &BaseKey) -> Result<Option<Detached>, RootfsError> {
        let at = self.base_mount(key);
        let _single_flight = self.lock_base(key)?;
        if mount::device_mounted_at(&at).is_some() {
            return Ok(Some(mount::bind(&at)?));
        }
        let (pool, name) = (self.pool()?, VolumeName::of_base(key));
        if pool.ready(&name)?.is_none() {
            return Ok(None);
        }
        let label = self.labels().for_a_look()?;
        sealed(key, &pool.activate(&name)?.device, label).map(Some)
    }

    /// Deactivates a base that was mounted only for reading.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub(super) fn look_away(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let _single_flight = self.lock_base(key)?;
        if mount::device_mounted_at(&self.base_mount(key)).is_none() {
            self.pool()?.deactivate(&VolumeName::of_base(key))?;
        }
        Ok(())
    }

    /// Unmounts and deletes a base that no record names. A container that is just being created from the base fails, or makes
    /// the base again. A container that runs keeps its own mount, and then the device is busy.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn remove_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let remove = |lock: BaseLock| {
            self.detach_base(&lock)?;
            self.pool()?.delete(&VolumeName::of_base(key))?;
            Ok(self.catalog().change(|catalog| catalog.forget(key))?)
        };
        remove(self.lock_base(key)?).map_err(RootfsError::naming_users)
    }

    /// Unmounts a base that no record names. The volume of the base stays.
    pub(super) fn unmount_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        self.detach_base(&self.lock_base(key)?)
    }

    /// Unmounts a base, unless a record names the base by now.
    pub(super) fn unmount_unused(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let lock = self.lock_base(key)?;
        if self.leases().any_mount(key)? { Ok(()) } else { self.detach_base(&lock) }
    }

    fn detach_base(&self, lock: &BaseLock) -> Result<(), RootfsError> {
        self.scaffolds().take_down_all(lock)?;
        let at = self.base_mount(lock.key());
        if mount::device_mounted_at(&at).is_some() {
            mount::detach(&at)?;
        }
        let _ = std::fs::remove_dir(&at);
        Ok(())
    }

    /// Mounts a sealed base at `at`, under the shared label where SELinux is on.
    pub(super) fn mount_base(
        &self,
        lock: &BaseLock,
        device: &Path,
        at: &Path,
        label: Option<SharedLabel>,
    ) -> Result<(), RootfsError> {
        let sealed = sealed(lock.key(), device, label)?;
        DirBuilder::new().recursive(true).mode(0o700).create(at).map_err(file("create", at))?;
        // A base holds set-uid programs from strangers, so on the host only root may reach the base.
        for top in at.parent().into_iter().chain([&*self.scaffolds().dir()]) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(top)
                .map_err(file("create", top))?;
            let only_root = Permissions::from_mode(0o700);
            std::fs::set_permissions(top, only_root).map_err(file("protect", top))?;
        }
        sealed.attach(at)?.keep();
        Ok(())
    }
}

/// The error of a base of `image` that cannot be made.
fn not_made(image: &Image) -> impl FnOnce(MakeError) -> RootfsError {
    let key = image.key.clone();
    |source| match source.is_of_the_image() {
        true => NotShared::Image { key, source }.into(),
        false => RootfsError::Make { key, source },
    }
}

/// Mounts a sealed base read-only and detached.
pub(super) fn sealed(
    key: &BaseKey,
    device: &Path,
    label: Option<SharedLabel>,
) -> Result<Detached, RootfsError> {
    let mut options = SEALED.to_vec();
    options.extend(label.iter().map(|label| context(label.as_mount_label())));
    mount::block_device("ext4", device, Access::ReadOnly, &options).map_err(|cause| match label {
        Some(label) if cause.is_invalid() => {
            NotShared::OtherLabel { key: key.clone(), label, cause }.into()
        }
        _ => cause.into(),
    })
}
