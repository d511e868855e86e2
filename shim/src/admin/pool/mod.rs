//! `pool`: what an administrator does with the thin pool.

mod figures;
mod inspect;

use std::path::Path;

use serde_json::json;
use sharedroot_bases::{RootfsError, Storage};
use sharedroot_dm::{Bytes, Pool};
use sharedroot_sys::private_dir::private_dir;

use super::for_programs;
use super::progress::Progress;
use crate::cli::{Pool as Verb, PoolCreate, PoolGrow};
use crate::config::{Config, Media};
use crate::output::say;
use crate::record::Records;
pub use figures::Figures;

/// Does what the command line says, and prints a short result.
///
/// # Errors
/// [`RootfsError`].
pub fn run(config: &Config, verb: Verb) -> Result<(), RootfsError> {
    private_dir(&config.pool.run_dir)?;
    let storage = || config.storage();
    match verb {
        Verb::Create(args) => create(config.clone(), args),
        Verb::Activate => activate(&storage()?),
        Verb::Deactivate => deactivate(&storage()?),
        Verb::Status { json } => status(&storage()?, json),
        Verb::Inspect { json } => inspect::run(&storage()?.known_pool()?, json),
        Verb::Grow(args) => grow(&storage()?, &args),
        Verb::Watch => watch(&storage()?),
        Verb::Check { json } => check(&storage()?, json),
        Verb::Repair { json } => repair(&storage()?, json),
        Verb::Drop { volume } => drop_snapshot(&storage()?, &volume),
        Verb::Destroy { force } => destroy(&storage()?, force),
    }
}

/// Makes the pool that the configuration, or the flags over it, describe.
fn create(mut config: Config, args: PoolCreate) -> Result<(), RootfsError> {
    // The store keeps the paths for processes that start elsewhere.
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| RootfsError::File {
            step: "find",
            path: path.to_owned(),
            source,
        })
    };
    if let (Some(data), Some(metadata)) = (&args.data_dev, &args.metadata_dev) {
        let (data, metadata) = (absolute(data)?, absolute(metadata)?);
        config.pool.media = Media::Devices { data, metadata };
    } else if let Some(name) = args.lvm {
        config.pool.media = Media::Lvm(name);
    } else if args.loop_size.is_some() {
        config.pool.media = Media::Loop(args.loop_size);
    }
    let storage = config.storage()?;
    let make = if args.force { Pool::create_overwriting } else { Pool::create };
    let made = Progress::during("making the pool", || make(&storage.pool));
    Figures::of(&made?)?.print(args.json);
    Ok(())
}

fn activate(storage: &Storage) -> Result<(), RootfsError> {
    let pool = Progress::during("checking and activating the pool", || storage.active_pool())?;
    say!("the pool {} is active", pool.name());
    Ok(())
}

fn deactivate(storage: &Storage) -> Result<(), RootfsError> {
    let pool = storage.known_pool()?;
    storage.vacate(&pool, &Records(&storage.pool.run_dir))?;
    let (name, node) = (pool.name().clone(), pool.data_path().to_owned());
    pool.shut_down()?;
    if storage.known_pool()?.is_active()? {
        say!(
            "the volumes of the pool {name} are inactive; the pool itself is LVM's: `lvchange \
             --activate n {}` deactivates it",
            node.display()
        );
    } else {
        say!("the pool {name} is inactive");
    }
    Ok(())
}

fn status(storage: &Storage, as_json: bool) -> Result<(), RootfsError> {
    Figures::known(&storage.pool)?.print(as_json);
    Ok(())
}

fn grow(storage: &Storage, args: &PoolGrow) -> Result<(), RootfsError> {
    let pool = storage.active_pool()?;
    let [data, metadata] = [args.data, args.metadata].map(|size| size.map(|size| Bytes(size.0)));
    pool.grow(data, metadata)?;
    Figures::of(&pool)?.print(args.json);
    Ok(())
}

fn watch(storage: &Storage) -> Result<(), RootfsError> {
    let pool = storage.active_pool()?;
    say!("watching the pool {}", pool.name());
    pool.watch(|data, metadata| {
        tracing::warn!(pool = %pool.name(), data, metadata, "the pool runs low (percent in use); see `sharedroot pool grow`");
    })?;
    say!("the pool {} was deactivated", pool.name());
    Ok(())
}

fn check(storage: &Storage, as_json: bool) -> Result<(), RootfsError> {
    let pool = storage.known_pool()?;
    Progress::during("checking the metadata", || pool.check())?;
    let name = pool.name();
    if as_json {
        for_programs(json!({ "pool": name.to_string(), "sound": true }));
    } else {
        say!("the metadata of the pool {name} is sound");
    }
    Ok(())
}

fn repair(storage: &Storage, as_json: bool) -> Result<(), RootfsError> {
    let pool = storage.known_pool()?;
    let repaired = Progress::during("repairing a copy of the metadata", || pool.repair())?;
    let (name, damaged) = (pool.name(), repaired.damaged);
    if as_json {
        for_programs(json!({ "pool": name.to_string(), "damaged_metadata": damaged }));
        return Ok(());
    }
    say!("the metadata of the pool {name} is repaired and sound");
    say!("what it was before is kept in {}", damaged.display());
    say!(
        "next: `sharedroot pool activate`, then `sharedroot gc --dry-run`, which says what the \
         pool holds; remove that file when nothing is missing"
    );
    Ok(())
}

fn drop_snapshot(storage: &Storage, volume: &str) -> Result<(), RootfsError> {
    let name = volume.parse()?;
    storage.drop_snapshot(&storage.active_pool()?, &name, &Records(&storage.pool.run_dir))?;
    say!("the snapshot {name} is deleted");
    Ok(())
}

fn destroy(storage: &Storage, force: bool) -> Result<(), RootfsError> {
    let pool = storage.known_pool()?;
    let name = pool.name().clone();
    if !force {
        let volumes = pool.volumes()?;
        let bases = volumes.iter().filter(|v| v.name.base().is_some()).count();
        let (all, snapshots) = (volumes.len(), volumes.len() - bases);
        say!("this would be lost:");
        say!("pool      {name}");
        say!("volumes   {all} (bases of images: {bases}, snapshots of containers: {snapshots})");
        say!("data      {}", pool.data_path().display());
        say!("metadata  {}", pool.metadata_path().display());
        return Err(RootfsError::NotForced { pool: name });
    }
    Progress::during("destroying the pool", || {
        storage.destroy(pool, &Records(&storage.pool.run_dir))
    })?;
    say!("the pool {name} is destroyed");
    Ok(())
}
