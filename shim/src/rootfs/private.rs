//! The private rootfs: a snapshot of the base, mounted over `root.path` where the daemon sees it
//! too, so that its own commands read what the container wrote.

use std::path::Path;

use sha2::{Digest, Sha256};
use sharedroot_dm::{Phase, Pool, Volume, VolumeName};

use super::{RootfsError, Storage};
use crate::image::Image;
use crate::label::MountLabel;
use crate::mount::{self, Setting};
use crate::record::{self, Rootfs};

/// What the names of snapshots begin with.
const PREFIX: &str = "private-";

/// The name of the snapshot of container `id` of the state root `root`.
///
/// # Errors
/// Never for what this makes; the type says so.
pub fn volume_name(root: &Path, id: &str) -> Result<VolumeName, RootfsError> {
    let mut hash = Sha256::new();
    hash.update(root.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(id.as_bytes());
    let hex: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    Ok(format!("{PREFIX}{hex}").parse()?)
}

/// Takes a snapshot of the image's base and mounts it over `root_path`.
///
/// # Errors
/// [`RootfsError`]; what is left then, [`release_private`] takes away.
pub fn prepare_private(
    storage: &Storage,
    image: &Image,
    volume: &VolumeName,
    root_path: &Path,
    label: Option<&MountLabel>,
) -> Result<(), RootfsError> {
    let pool = Pool::open(&storage.pool)?;
    storage.snapshot_base(&pool, image)?;
    // The caller holds the container's record, so a snapshot of that name is of before a reboot.
    if pool.volume(volume)?.is_some() {
        tracing::warn!("deleting {volume}, which a container left when the host went down");
        pool.delete_when_idle(volume)?;
    }
    let snapshot = pool.snapshot(&Storage::base_volume(&image.key)?, volume)?;
    // An idle snapshot writes almost nothing: the inode tables of a base are never initialised.
    let mut options = vec![Setting::Flag("noinit_itable")];
    if let Some(label) = label {
        options.push(Setting::Value("context", label.as_context()));
    }
    let mounted =
        mount::block_device("ext4", snapshot.device(), false, &options)?.attach(root_path)?;
    snapshot.keep()?;
    mounted.keep();
    Ok(())
}

/// Deletes the idle snapshots that no record knows: a reboot takes the records, not the pool.
/// Returns their names; `dry_run` deletes nothing.
///
/// # Errors
/// The first [`RootfsError`] or [`RecordError`].
pub fn delete_forgotten(
    storage: &Storage,
    pool: &Pool,
    dry_run: bool,
) -> Result<Vec<VolumeName>, RootfsError> {
    let idle =
        |v: &Volume| v.name.as_ref().starts_with(PREFIX) && v.phase == Phase::Ready && !v.active;
    let mut idle: Vec<_> = pool.volumes()?.into_iter().filter(idle).map(|v| v.name).collect();
    // Read after the volumes: a record is written before its snapshot is taken.
    for record in record::all(&storage.pool.run_dir)? {
        if let Rootfs::Private { volume, .. } = record.rootfs {
            idle.retain(|name| name.as_ref() != volume);
        }
    }
    for name in idle.iter().filter(|_| !dry_run) {
        pool.delete(name)?;
    }
    Ok(idle)
}

/// Takes the mount at `mount_point` and the snapshot away. What is gone already is no error.
///
/// The mount goes first and needs no pool: it lies over the daemon's own.
///
/// # Errors
/// [`RootfsError`]; the record must stay, so that it can be tried again.
pub fn release_private(
    storage: &Storage,
    volume: &VolumeName,
    mount_point: &Path,
) -> Result<(), RootfsError> {
    if let Some((major, minor)) = mount::device_mounted_at(mount_point) {
        // Only our own mount: the overlay below it is the daemon's.
        let name = format!("/sys/dev/block/{major}:{minor}/dm/name");
        let ours = storage.pool.name.device_of(volume);
        if std::fs::read_to_string(name).is_ok_and(|name| name.trim_end() == ours) {
            mount::detach(mount_point)?;
        }
    }
    if let Some(pool) = storage.pool_if_made()? {
        // A mount that leaked into another mount namespace is no reason to keep the container: the log names it.
        pool.delete_when_idle(volume)?;
    }
    Ok(())
}
