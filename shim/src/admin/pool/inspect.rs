//! `pool inspect`: the volumes in the store.

use serde_json::{Value, json};
use sharedroot_bases::RootfsError;
use sharedroot_dm::{Pool, Volume};

use crate::admin::for_programs;
use crate::output::say;

/// Prints every volume of the pool.
///
/// # Errors
/// [`RootfsError`] if the store or the kernel cannot be read.
pub fn run(pool: &Pool, as_json: bool) -> Result<(), RootfsError> {
    let volumes = pool.volumes()?;
    if as_json {
        let volumes: Vec<_> = volumes.iter().map(to_json).collect();
        for_programs(json!({ "pool": pool.name().to_string(), "volumes": volumes }));
        return Ok(());
    }
    for volume in &volumes {
        let Volume { name, id, size, origin, phase, sealed, active } = volume;
        let origin = origin.as_ref().map_or(String::new(), |origin| format!("  of {origin}"));
        let sealed = if *sealed { "  read-only" } else { "" };
        let active = if *active { "  active" } else { "" };
        say!("{name}  thin id {id}  {size}  {phase}{sealed}{active}{origin}");
    }
    Ok(())
}

fn to_json(volume: &Volume) -> Value {
    json!({
        "name": volume.name.to_string(),
        "thin_id": volume.id.get(),
        "size_bytes": volume.size.0,
        "origin": volume.origin.as_ref().map(ToString::to_string),
        "phase": volume.phase.to_string(),
        "sealed": volume.sealed,
        "active": volume.active,
    })
}
