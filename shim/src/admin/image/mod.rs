//! `image`: the bases, their names, and who uses them.

mod export;
mod import;
mod inspect;
mod list;

use sharedroot_dm::{Phase, Pool, Volume};

use crate::cli::Image;
use crate::image::BaseKey;
use crate::image::catalog::Facts;
use crate::lifecycle::LifecycleError;
use crate::mount;
use crate::record::{self, Rootfs, private_dir};
use crate::rootfs::{RootfsError, Storage};

/// Does what the command line says.
///
/// # Errors
/// [`LifecycleError`].
pub fn run(storage: &Storage, verb: Image) -> Result<(), LifecycleError> {
    match verb {
        Image::Import { source, name } => import::import(storage, &source, name.as_deref()),
        Image::List { json } => list::list(storage, json),
        Image::Inspect { base } => {
            inspect::inspect(storage, &find(storage, "image inspect", &base)?)
        }
        Image::Rm { base } => remove(storage, &find(storage, "image rm", &base)?),
        Image::Verify { base } => inspect::verify(storage, &find(storage, "image verify", &base)?),
        Image::Export { base, output } => {
            export::export(storage, &find(storage, "image export", &base)?, output.as_deref())
        }
    }
}

/// One base, what is known of it, and its users.
#[derive(Debug)]
struct Base {
    key: BaseKey,
    names: Vec<String>,
    facts: Option<Facts>,
    volume: Volume,
    mounted: bool,
    /// Bytes in use, of a mounted base.
    used: Option<u64>,
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
    let catalog = storage.catalog()?;
    let mut bases = Vec::new();
    for volume in pool.volumes().map_err(RootfsError::from)? {
        let Some(key) = Storage::base_of(&volume.name) else { continue };
        let at = storage.base_mount(&key);
        let mounted = mount::device_mounted_at(&at).is_some();
        let used = mounted.then(|| rustix::fs::statvfs(&at).ok()).flatten();
        let used = used.map(|stat| (stat.f_blocks - stat.f_bfree) * stat.f_frsize);
        let names = catalog.names_of(&key).map(ToString::to_string).collect();
        // What is known of a base that was there before says nothing of one that is being made.
        let facts = catalog.facts(&key).filter(|_| volume.phase == Phase::Ready).cloned();
        let (shared, private) = (Vec::new(), Vec::new());
        bases.push(Base { key, names, facts, volume, mounted, used, shared, private });
    }
    for record in record::all(&storage.pool.run_dir)? {
        let Some(base) = record.rootfs.base() else { continue };
        if let Some(found) = bases.iter_mut().find(|b| b.key.to_string() == base) {
            let shares = matches!(record.rootfs, Rootfs::Shared { .. });
            if shares { &mut found.shared } else { &mut found.private }.push(record.id);
        }
    }
    Ok(bases)
}

/// The base of a name, or the one whose key begins so.
fn find(storage: &Storage, verb: &'static str, text: &str) -> Result<Base, LifecycleError> {
    let mut all = bases(storage)?;
    let named = all.iter().position(|base| base.names.iter().any(|name| name == text));
    if let Some(at) = named {
        return Ok(all.swap_remove(at));
    }
    let begins = |base: &Base| base.key.to_string().starts_with(text);
    let mut found: Vec<_> = all.into_iter().filter(begins).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(LifecycleError::Argument {
            flag: verb,
            value: text.to_owned(),
            wanted: "give a name, or the beginning of exactly one key, that `sharedroot image list` shows",
        }),
    }
}

fn remove(storage: &Storage, base: &Base) -> Result<(), LifecycleError> {
    if let Some(id) = base.shared.iter().chain(&base.private).next() {
        return Err(RootfsError::InUse { key: base.key.clone(), id: id.clone() }.into());
    }
    Ok(storage.remove_base(&base.key)?)
}
