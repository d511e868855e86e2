//! `image list` and `image rm`: the bases and who uses them.

use serde_json::json;
use sharedroot_dm::{Phase, Pool, Volume};

use crate::image::BaseKey;
use crate::lifecycle::LifecycleError;
use crate::mount;
use crate::record::{self, Rootfs, private_dir};
use crate::rootfs::{RootfsError, Storage};

/// One base and its users.
#[derive(Debug)]
struct Base {
    key: BaseKey,
    volume: Volume,
    mounted: bool,
    /// IDs of the containers that share it.
    shared: Vec<String>,
    /// IDs of the containers that have a snapshot of it.
    private: Vec<String>,
}

fn bases(storage: &Storage) -> Result<Vec<Base>, LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    // The store knows the volumes of an inactive pool too.
    let Some(pool) = Pool::known(&storage.pool).map_err(RootfsError::from)? else {
        return Ok(Vec::new());
    };
    let mut bases = Vec::new();
    for volume in pool.volumes().map_err(RootfsError::from)? {
        if let Some(key) = Storage::base_of(&volume.name) {
            let mounted = mount::device_mounted_at(&storage.base_mount(&key)).is_some();
            bases.push(Base { key, volume, mounted, shared: Vec::new(), private: Vec::new() });
        }
    }
    for record in record::all(&storage.pool.run_dir)? {
        let (Rootfs::Shared { base } | Rootfs::Private { base, .. }) = &record.rootfs else {
            continue;
        };
        if let Some(found) = bases.iter_mut().find(|b| b.key.to_string() == *base) {
            let shares = matches!(record.rootfs, Rootfs::Shared { .. });
            if shares { &mut found.shared } else { &mut found.private }.push(record.id);
        }
    }
    Ok(bases)
}

/// Deletes the base whose key begins with `prefix`.
///
/// # Errors
/// [`LifecycleError`]: no base or more than one, or containers that use it, by name.
pub fn remove(storage: &Storage, prefix: &str) -> Result<(), LifecycleError> {
    let found: Vec<_> =
        bases(storage)?.into_iter().filter(|b| b.key.to_string().starts_with(prefix)).collect();
    let wrong =
        |wanted| LifecycleError::Argument { flag: "image rm", value: prefix.into(), wanted };
    let [base] = found.as_slice() else {
        return Err(wrong(
            "give the beginning of exactly one key that `sharedroot image list` shows",
        ));
    };
    if let Some(id) = base.shared.iter().chain(&base.private).next() {
        return Err(RootfsError::InUse { key: base.key.clone(), id: id.clone() }.into());
    }
    Ok(storage.remove_base(&base.key)?)
}

/// Prints every base: its key, size, state and containers.
///
/// # Errors
/// [`LifecycleError`].
pub fn list(storage: &Storage, as_json: bool) -> Result<(), LifecycleError> {
    let bases = bases(storage)?;
    if as_json {
        let list: Vec<_> = bases
            .iter()
            .map(|base| {
                json!({
                    "key": base.key.to_string(),
                    "volume": base.volume.name.to_string(),
                    "size_bytes": base.volume.size.0,
                    "ready": base.volume.phase == Phase::Ready,
                    "mounted": base.mounted,
                    "mount_point": storage.base_mount(&base.key),
                    "shared_by": base.shared,
                    "snapshots_of": base.private,
                })
            })
            .collect();
        println!("{:#}", serde_json::Value::Array(list));
        return Ok(());
    }
    println!("{:<14}{:<10}{:<11}{:<8}PRIVATE", "BASE", "SIZE", "STATE", "SHARED");
    for base in &bases {
        let state = match (base.volume.phase == Phase::Ready, base.mounted) {
            (true, true) => "mounted",
            (true, false) => "ready",
            (false, _) => "unfinished",
        };
        let [short, size] = [base.key.short(), base.volume.size.to_string()];
        let [shared, private] = [base.shared.len(), base.private.len()];
        println!("{short:<14}{size:<10}{state:<11}{shared:<8}{private}");
    }
    Ok(())
}
