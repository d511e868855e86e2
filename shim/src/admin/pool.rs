//! `pool create` and `pool status`.

use serde_json::json;
use sharedroot_dm::{Blocks, Bytes, Pool, PoolStatus};

use crate::cli::PoolCreate;
use crate::config::{Config, Size};
use crate::lifecycle::LifecycleError;
use crate::record::private_dir;
use crate::rootfs::{RootfsError, Storage};

/// Makes the pool that the configuration, or the flags over it, describe.
///
/// # Errors
/// [`LifecycleError`]; nothing is left of a pool that could not be made.
pub fn create(config: &Config, args: &PoolCreate) -> Result<(), LifecycleError> {
    let mut config = config.clone();
    if let Some(text) = &args.loop_size {
        let size: Size = text.parse().map_err(|_| LifecycleError::Argument {
            flag: "--loop-size",
            value: text.clone(),
            wanted: "give a number and K, M, G or T, such as 32G",
        })?;
        config.pool.loop_size = Some(size);
        (config.pool.data_dev, config.pool.metadata_dev) = (None, None);
    }
    if args.data_dev.is_some() {
        config.pool.data_dev.clone_from(&args.data_dev);
        config.pool.metadata_dev.clone_from(&args.metadata_dev);
    }
    private_dir(&config.pool.run_dir)?;
    let storage = Storage::of(&config)?;
    let pool = Pool::create(&storage.pool).map_err(RootfsError::from)?;
    print(&storage, &pool.status().map_err(RootfsError::from)?);
    Ok(())
}

/// Prints how full the pool is.
///
/// # Errors
/// [`LifecycleError`].
pub fn status(storage: &Storage, as_json: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let Some(pool) = storage.pool_if_made()? else {
        if as_json {
            println!("{}", json!({ "pool": storage.pool.name.to_string(), "exists": false }));
        } else {
            println!(
                "pool {}: not made yet; the first container makes it, or `sharedroot pool create`",
                storage.pool.name
            );
        }
        return Ok(());
    };
    let status = pool.status().map_err(RootfsError::from)?;
    if as_json {
        println!("{:#}", figures(storage, &status));
    } else {
        print(storage, &status);
    }
    Ok(())
}

fn figures(storage: &Storage, status: &PoolStatus) -> serde_json::Value {
    let part = |blocks: Option<Blocks>, block: Bytes| {
        blocks.map(|blocks| {
            json!({
                "used_bytes": blocks.used * block.0,
                "total_bytes": blocks.total * block.0,
                "percent": blocks.percent(),
            })
        })
    };
    json!({
        "pool": storage.pool.name.to_string(),
        "exists": true,
        "mode": status.mode.to_string(),
        "needs_check": status.needs_check,
        "transaction_id": status.transaction_id,
        "data": part(status.data, status.block),
        "metadata": part(status.metadata, status.metadata_block),
        "volumes": status.volumes,
        "data_path": status.data_path,
        "metadata_path": status.metadata_path,
    })
}

fn print(storage: &Storage, status: &PoolStatus) {
    let part = |blocks: Option<Blocks>, block: Bytes| {
        let Some(blocks) = blocks else { return "unknown".to_owned() };
        let [used, total] = [blocks.used, blocks.total].map(|n| Bytes(n * block.0));
        format!("{used} of {total} ({} %)", blocks.percent())
    };
    println!("pool      {} ({})", storage.pool.name, status.mode);
    let [data, metadata] =
        [part(status.data, status.block), part(status.metadata, status.metadata_block)];
    println!("data      {data}  {}", status.data_path.display());
    println!("metadata  {metadata}  {}", status.metadata_path.display());
    println!("volumes   {}", status.volumes);
    if status.needs_check {
        println!("the metadata needs a check: thin_check {}", status.metadata_path.display());
    }
}
