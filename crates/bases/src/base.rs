//! The base of an image: made once, sealed, mounted once, whoever comes first.

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

/// Options of every read-only mount of a base: never write, not even a journal's replay.
const SEALED: [Setting<'static>; 1] = [Setting::Flag("noload")];

/// A base at its place.
#[derive(Debug)]
pub(super) struct MountedBase<'a> {
    /// The image's key.
    pub key: &'a BaseKey,
    /// Where it is mounted.
    pub at: PathBuf,
    /// Its device number.
    pub device: (u32, u32),
}

impl MountedBase<'_> {
    /// That it is still there, where it stays while it is locked.
    pub fn check(&self, _stays: &BaseLock) -> Result<(), RootfsError> {
        let there = mount::device_mounted_at(&self.at) == Some(self.device);
        if there { Ok(()) } else { Err(self.removed()) }
    }

    /// An administrator came between.
    pub fn removed(&self) -> RootfsError {
        RootfsError::BaseRemoved { key: self.key.clone() }
    }

    /// What became of putting `path` above it; that it was removed is another matter.
    pub fn cannot_carry(&self, path: &Path) -> impl FnOnce(RootfsError) -> RootfsError {
        let (key, path) = (self.key.clone(), path.to_owned());
        move |error| match error {
            RootfsError::BaseRemoved { .. } | RootfsError::Containers(_) => error,
            source => NotShared::Scaffold { key, path, source: Box::new(source) }.into(),
        }
    }
}

impl Bases {
    /// The base whose own mount is at `root_path`: a bundle may name it as its root.
    #[must_use]
    pub fn base_at(&self, root_path: &Path) -> Option<Image> {
        let key: BaseKey = root_path.file_name()?.to_str()?.parse().ok()?;
        let is_there =
            self.base_mount(&key) == root_path && mount::device_mounted_at(root_path).is_some();
        is_there.then(|| Image::of_base(key))
    }

    /// The image's base, made and mounted if this is its first container.
    ///
    /// Where it is mounted already this is one statx(2): no lock, no store, no device-mapper.
    ///
    /// # Errors
    /// [`RootfsError`]; nothing is left of what was begun.
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
        // Before a base is made that could not be mounted.
        let label = self.labels().shared()?;
        let pool = self.pool()?;
        self.ensure_base(&lock, image)?;
        // The engine's store may have moved since it was made.
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

    /// Makes the sealed volume of the image's base unless it is there.
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
        let (volume, _tree) = self.fill_base(lock, image, |_| Ok(()))?;
        volume.seal()?;
        Ok(())
    }

    /// The volume of the image's base with everything in it, and the tree that it was made from. `has_room` hears before
    /// anything is written how many bytes that is.
    pub(super) fn fill_base(
        &self,
        _only_maker: &BaseLock,
        image: &Image,
        has_room: impl FnOnce(Bytes) -> Result<(), RootfsError>,
    ) -> Result<(NewVolume<'_>, Tree), RootfsError> {
        let fail = |source: MakeError| {
            let key = image.key.clone();
            match source.is_of_the_image() {
                true => NotShared::Image { key, source }.into(),
                false => RootfsError::Make { key, source },
            }
        };
        let scratch = self.run_dir().join("making").join(image.key.to_string());
        let tree = image::assemble(image, &scratch).map_err(fail)?;
        let bytes = Bytes(tree.usage().map_err(fail)?.bytes);
        has_room(bytes)?;
        let pool = self.with_room(|pool| pool.make_room(bytes).map(|()| pool))?;
        let volume =
            pool.create_volume(&VolumeName::of_base(&image.key), self.config().base_size)?;
        image::make_filesystem(&tree, &image.key, volume.device(), self.config().base_size.0)
            .map_err(fail)?;
        Ok((volume, tree))
    }

    /// The sealed base for a snapshot; it need not be mounted.
    pub(super) fn snapshot_base(&self, image: &Image) -> Result<(), RootfsError> {
        if self.pool()?.ready(&VolumeName::of_base(&image.key))?.is_some() {
            return Ok(());
        }
        let lock = self.lock_base_if_wanted(&image.key)?;
        self.ensure_base(&lock, image)
    }

    /// A mount of the base for one look, attached nowhere; [`Self::look_away`] is its end. `None` if there is no such base.
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

    /// Deactivates a base that was only looked at.
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

    /// Unmounts and deletes a base that no record names. A container that was just being created
    /// from it fails or makes it anew; one that runs keeps its mount, and the device is busy.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn remove_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        let lock = self.lock_base(key)?;
        self.detach_base(&lock)?;
        self.pool()?.delete(&VolumeName::of_base(key))?;
        Ok(self.catalog().change(|catalog| catalog.forget(key))?)
    }

    /// Unmounts a base that no record names; its volume stays.
    pub(super) fn unmount_base(&self, key: &BaseKey) -> Result<(), RootfsError> {
        self.detach_base(&self.lock_base(key)?)
    }

    /// The same, unless a record names it by now.
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
    fn mount_base(
        &self,
        lock: &BaseLock,
        device: &Path,
        at: &Path,
        label: Option<SharedLabel>,
    ) -> Result<(), RootfsError> {
        let sealed = sealed(lock.key(), device, label)?;
        DirBuilder::new().recursive(true).mode(0o700).create(at).map_err(file("create", at))?;
        // A base holds set-uid programs of strangers: on the host only root may come near it.
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

/// The read-only mount of a sealed base, attached nowhere.
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
