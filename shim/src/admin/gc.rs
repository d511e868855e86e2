//! `gc`: what processes and reboots left half-done in the pool is finished or undone.

use crate::lifecycle::LifecycleError;
use crate::record::private_dir;
use crate::rootfs::{RootfsError, Storage, delete_forgotten};

/// Makes store, pool and kernel agree, deletes the snapshots of containers that are gone, and
/// prints what was done.
///
/// # Errors
/// [`LifecycleError`].
pub fn collect(storage: &Storage, dry_run: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let Some(pool) = storage.pool_if_made()? else {
        println!("pool {}: not made yet, nothing to do", storage.pool.name);
        return Ok(());
    };
    println!("{}", pool.reconcile(dry_run).map_err(RootfsError::from)?);
    for volume in delete_forgotten(storage, &pool, dry_run)? {
        let done = if dry_run { "would delete" } else { "deleted" };
        println!("{done} {volume}: its container is gone");
    }
    Ok(())
}
