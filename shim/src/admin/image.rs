//! `image list`: the bases and who uses them.

use std::collections::BTreeMap;

use serde_json::json;
use sharedroot_dm::{Phase, Pool};

use super::pool::readable;
use crate::image::BaseKey;
use crate::lifecycle::LifecycleError;
use crate::mount;
use crate::record::{self, Rootfs, private_dir};
use crate::rootfs::{RootfsError, Storage};

/// One base and its users.
#[derive(Debug, Default)]
struct Users {
    shared: Vec<String>,
    private: Vec<String>,
}

/// Prints every base: its key, size, state and containers.
///
/// # Errors
/// [`LifecycleError`].
pub fn list(storage: &Storage, as_json: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let mut users: BTreeMap<String, Users> = BTreeMap::new();
    for record in record::all(&storage.pool.run_dir)? {
        match record.rootfs {
            Rootfs::Shared { base } => users.entry(base).or_default().shared.push(record.id),
            Rootfs::Private { base, .. } => users.entry(base).or_default().private.push(record.id),
            Rootfs::AsGiven { .. } => {}
        }
    }
    let mut bases = Vec::new();
    if Pool::exists(&storage.pool).map_err(RootfsError::from)? {
        let pool = Pool::open(&storage.pool).map_err(RootfsError::from)?;
        for volume in pool.volumes().map_err(RootfsError::from)? {
            let name = volume.name.to_string();
            let Some(Ok(key)) = name.strip_prefix("base-").map(str::parse::<BaseKey>) else {
                continue;
            };
            let users = users.remove(&key.to_string()).unwrap_or_default();
            let mounted = mount::device_mounted_at(&storage.base_mount(&key)).is_some();
            bases.push((key, volume, users, mounted));
        }
    }
    if as_json {
        let list: Vec<_> = bases
            .iter()
            .map(|(key, volume, users, mounted)| {
                json!({
                    "key": key.to_string(),
                    "volume": volume.name.to_string(),
                    "size_bytes": volume.size.0,
                    "ready": volume.phase == Phase::Ready,
                    "mounted": mounted,
                    "mount_point": storage.base_mount(key),
                    "shared_by": users.shared,
                    "snapshots_of": users.private,
                })
            })
            .collect();
        println!("{:#}", serde_json::Value::Array(list));
        return Ok(());
    }
    println!("{:<14}{:<10}{:<11}{:<8}PRIVATE", "BASE", "SIZE", "STATE", "SHARED");
    for (key, volume, users, mounted) in &bases {
        let state = match (volume.phase == Phase::Ready, mounted) {
            (true, true) => "mounted",
            (true, false) => "ready",
            (false, _) => "unfinished",
        };
        let [short, size] = [key.short(), readable(volume.size.0)];
        println!(
            "{short:<14}{size:<10}{state:<11}{:<8}{}",
            users.shared.len(),
            users.private.len()
        );
    }
    Ok(())
}
