//! `gc`: what processes and reboots left half-done in the pool is finished or undone.

use sharedroot_dm::Pool;

use crate::lifecycle::LifecycleError;
use crate::record::private_dir;
use crate::rootfs::{RootfsError, Storage, delete_forgotten};

/// Makes store, pool and kernel agree, deletes the snapshots of containers that are gone, and
/// prints what was done. Where the pool is not the one that the store knows, only `force` goes on,
/// with the pool as it is.
///
/// # Errors
/// [`LifecycleError`].
pub fn collect(storage: &Storage, dry_run: bool, force: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    if !Pool::exists(&storage.pool).map_err(RootfsError::from)? {
        println!("pool {}: not made yet, nothing to do", storage.pool.name);
        return Ok(());
    }
    let pool = Pool::open_to_reconcile(&storage.pool).map_err(RootfsError::from)?;
    let reconcile = if force { Pool::reconcile_by_force } else { Pool::reconcile };
    let report = reconcile(&pool, dry_run).map_err(RootfsError::from)?;
    println!("{report}");
    if report.untouched {
        return Ok(());
    }
    for volume in delete_forgotten(storage, &pool, dry_run)? {
        let done = if dry_run { "would delete" } else { "deleted" };
        println!("{done} {volume}: its container is gone");
    }
    Ok(())
}
