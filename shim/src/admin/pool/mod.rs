//! `pool`: the administration of the thin pool.

mod figures;
mod inspect;

use std::path::Path;

use serde_json::json;
use sharedroot_bases::{Bases, RootfsError};
use sharedroot_dm::{Bytes, Pool};
use sharedroot_sys::private_dir::private_dir;

use super::for_programs;
use super::progress::Progress;
use crate::cli::{Pool as Verb, PoolCreate, PoolGrow};
use crate::config::{Config, Media};
use crate::output::say;
use crate::record::Records;
pub use figures::Figures;

/// Executes the command line, and prints a short result.
///
/// # Errors
/// [`RootfsError`].
pub fn run(config: &Config, verb: Verb) -> Result<(), RootfsError> {
    private_dir(&config.pool.run_dir)?;
    let bases = || config.bases();
    match verb {
        Verb::Create(args) => create(config.clone(), args),
        Verb::Activate => activate(&bases()?),
        Verb::Deactivate => deactivate(bases()?),
        Verb::Status { json } => status(&bases()?, json),
        Verb::Inspect { json } => inspect::run(bases()?.known_pool()?, json),
        Verb::Grow(args) => grow(&bases()?, &args),
        Verb::Watch => watch(&bases()?),
        Verb::Check { json } => check(&bases()?, json),
        Verb::Repair { json } => repair(&bases()?, json),
        Verb::Drop { volume } => drop_snapshot(&bases()?, &volume),
        Verb::Destroy { force } => destroy(bases()?, force),
    }
}

/// Makes the pool that the configuration and the flags describe.
fn create(mut config: Config, args: PoolCreate) -> Result<(), RootfsError> {
    // Paths are made absolute: the store keeps them for processes with other working directories.
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
    let bases = config.bases()?;
    let make = if args.force { Pool::create_overwriting } else { Pool::create };
    let made = Progress::during("making the pool", || make(&bases.config().pool));
    Figures::of(&made?)?.print(args.json);
    Ok(())
}

fn activate(bases: &Bases) -> Result<(), RootfsError> {
    let pool = Progress::during("checking and activating the pool", || bases.active_pool())?;
    say!("the pool {} is active", pool.name());
    Ok(())
}

fn deactivate(bases: Bases) -> Result<(), RootfsError> {
    let pool = bases.known_pool()?;
    let (name, node) = (pool.name().clone(), pool.data_path().to_owned());
    let stays_active = pool.is_of_lvm() && pool.is_active()?;
    let run_dir = bases.run_dir().to_owned();
    bases.deactivate(&Records(&run_dir))?;
    if stays_active {
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

fn status(bases: &Bases, as_json: bool) -> Result<(), RootfsError> {
    Figures::known(bases)?.print(as_json);
    Ok(())
}

fn grow(bases: &Bases, args: &PoolGrow) -> Result<(), RootfsError> {
    let pool = bases.active_pool()?;
    let [data, metadata] = [args.data, args.metadata].map(|size| size.map(|size| Bytes(size.0)));
    pool.grow(data, metadata)?;
    Figures::of(pool)?.print(args.json);
    Ok(())
}

fn watch(bases: &Bases) -> Result<(), RootfsError> {
    let pool = bases.active_pool()?;
    say!("watching the pool {}", pool.name());
    pool.watch(|data, metadata| {
        tracing::warn!(pool = %pool.name(), data, metadata, "the pool runs low (percent in use); see `sharedroot pool grow`");
    })?;
    say!("the pool {} was deactivated", pool.name());
    Ok(())
}

fn check(bases: &Bases, as_json: bool) -> Result<(), RootfsError> {
    let pool = bases.known_pool()?;
    Progress::during("checking the metadata", || pool.check())?;
    let name = pool.name();
    if as_json {
        for_programs(json!({ "pool": name.to_string(), "sound": true }));
    } else {
        say!("the metadata of the pool {name} is sound");
    }
    Ok(())
}

fn repair(bases: &Bases, as_json: bool) -> Result<(), RootfsError> {
    let pool = bases.known_pool()?;
    let repaired = Progress::during("repairing a copy of the metadata", || pool.repair())?;
    let (name, damaged) = (pool.name(), repaired.damaged);
    if as_json {
        for_programs(json!({ "pool": name.to_string(), "damaged_metadata": damaged }));
        return Ok(());
    }
    say!("the metadata of the pool {name} is repaired and sound");
    say!("the damaged metadata is kept in {}", damaged.display());
    say!(
        "next: `sharedroot pool activate`, then `sharedroot gc --dry-run`, which prints what the \
         pool holds; remove that file when nothing is missing"
    );
    Ok(())
}

fn drop_snapshot(bases: &Bases, volume: &str) -> Result<(), RootfsError> {
    let name = volume.parse()?;
    bases.drop_snapshot(&name, &Records(bases.run_dir()))?;
    say!("the snapshot {name} is deleted");
    Ok(())
}

fn destroy(bases: Bases, force: bool) -> Result<(), RootfsError> {
    let pool = bases.known_pool()?;
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
    let run_dir = bases.run_dir().to_owned();
    Progress::during("destroying the pool", || bases.destroy(&Records(&run_dir)))?;
    say!("the pool {name} is destroyed");
    Ok(())
}
