//! `gc`: what processes and reboots left half-done in the pool is finished or undone.

use sharedroot_dm::Pool;

use crate::lifecycle::LifecycleError;
use crate::output::say;
use crate::record::private_dir;
use crate::rootfs::{Fate, Mislabelled, RootfsError, Storage, delete_forgotten};

/// Makes store, pool and kernel agree, deletes the snapshots of containers that are gone, and
/// prints what was done. Where the pool is not the one that the store knows, only `force` goes on,
/// with the pool as it is.
///
/// # Errors
/// [`LifecycleError`].
pub fn collect(storage: &Storage, dry_run: bool, force: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    if !dry_run {
        for path in storage.sweep_imports() {
            say!("removed {}: its import was killed", path.display());
        }
    }
    if !Pool::exists(&storage.pool).map_err(RootfsError::from)? {
        say!("pool {}: not made yet, nothing to do", storage.pool.name);
        return Ok(());
    }
    let pool = Pool::open_to_reconcile(&storage.pool).map_err(RootfsError::from)?;
    let reconcile = if force { Pool::reconcile_by_force } else { Pool::reconcile };
    let report = reconcile(&pool, dry_run).map_err(RootfsError::from)?;
    say!("{report}");
    if report.untouched {
        return Ok(());
    }
    let done = if dry_run { "would delete" } else { "deleted" };
    for (volume, fate) in delete_forgotten(storage, &pool, dry_run)? {
        match fate {
            Fate::Gone => say!("{done} {volume}: its container is gone"),
            Fate::Saved => {
                say!("{done} {volume}: what its container changed is its engine's now")
            }
            Fate::Kept => say!(
                "kept {volume}: its container ended with the host and is still there; its next start writes back what it changed"
            ),
        }
    }
    for (base, name) in storage.take_down_forgotten(dry_run)? {
        let done = if dry_run { "would unmount" } else { "unmounted" };
        say!("{done} the scaffold {name} of the base {}: no container has it", base.short());
    }
    unmount_mislabelled(storage, dry_run);
    for key in storage.unwanted_bases(&pool)? {
        if !dry_run && let Err(error) = storage.remove_base(&key) {
            tracing::warn!("{error}");
            continue;
        }
        say!("{done} the base {}: its image is gone", key.short());
    }
    Ok(())
}

/// A policy that names no shared label is no reason to leave the rest undone.
fn unmount_mislabelled(storage: &Storage, dry_run: bool) {
    match storage.unmount_mislabelled(dry_run) {
        Ok(bases) => {
            for Mislabelled { key, label, used } in bases {
                let (short, done) =
                    (key.short(), if dry_run { "would unmount" } else { "unmounted" });
                match used {
                    true => say!("kept the base {short} under {label}: containers have it"),
                    false => say!("{done} the base {short}: it had the label {label}"),
                }
            }
        }
        Err(error) => tracing::warn!("the labels of bases are as they were: {error}"),
    }
}
