//! One of several processes that do random operations, with volumes of their own and one common base.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use sharedroot_dm::{Bytes, Error, Pool, Reconcile};

use crate::crash::random::Chance;
use crate::crash::site::{Failed, Site};
use crate::crash::story::{fill_base, mounted, volume, write_marker};

/// The base that all workers take snapshots of.
pub(crate) const BASE: &str = "base";
/// How many names a worker has.
const NAMES: u64 = 4;
/// The largest size to which a random growth makes the pool.
const MOST: Bytes = Bytes::mib(256);

/// Creates the common base, if it does not exist.
pub(crate) fn make_base(site: &Site) -> Result<(), Failed> {
    let pool = Pool::open(&site.config)?;
    if pool.volume(&volume(BASE))?.is_none() {
        let new = pool.create_volume(&volume(BASE), Bytes::mib(16))?;
        fill_base(site, new.device())?;
        new.seal()?;
    }
    Ok(())
}

/// The names of the worker's volumes, without the worker's own part.
pub(crate) fn names(worker: &str) -> Vec<String> {
    (0..NAMES).map(|number| format!("{worker}-{number}")).collect()
}

/// Works until it is killed. Prints `will` before each change of a volume, and after the change `did`, or `not` if the pool was
/// full.
pub(crate) fn work(mut site: Site, worker: &str, seed: u64, have: &str) -> Result<(), Failed> {
    let mut chance = Chance::new(seed);
    let mut have: BTreeSet<String> = have.split_whitespace().map(str::to_owned).collect();
    site.mount = mount_point(&site, worker);
    fs::create_dir_all(&site.mount)?;
    let mut pool = Pool::open(&site.config)?;
    loop {
        let name = names(worker).swap_remove(chance.below(NAMES) as usize);
        let there = have.contains(&name);
        match chance.below(16) {
            0 => pool = Pool::open(&site.config)?,
            1 => drop(pool.reconcile(Reconcile::Apply)?),
            2 => {
                let total = pool.status()?.data.map_or(0, |data| data.total);
                let next = Bytes((total << 16) + Bytes::mib(1).0);
                if next < MOST {
                    match pool.grow(Some(next), None) {
                        // `Shrink`: another worker has grown the pool meanwhile.
                        Ok(()) | Err(Error::Shrink { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            3 => busy(pool.deactivate(&volume(BASE)))?,
            4 => busy(pool.activate(&volume(BASE)).map(drop))?,
            5 if there => pool.deactivate(&volume(&name))?,
            6 if there => drop(pool.activate(&volume(&name))?),
            7..=9 if there => {
                println!("will delete {name}");
                pool.delete(&volume(&name))?;
                println!("did delete {name}");
                have.remove(&name);
            }
            kind if kind > 6 && !there => {
                println!("will make {name}");
                if make(&site, &pool, &name, kind, &mut chance)? {
                    println!("did make {name}");
                    have.insert(name);
                } else {
                    println!("not make {name}");
                }
            }
            _ => {}
        }
    }
}

/// The mount point of a worker.
pub(crate) fn mount_point(site: &Site, worker: &str) -> PathBuf {
    site.mount.with_file_name(format!("mount-{worker}"))
}

/// Another worker may use the common base for longer than this crate waits for a lock.
fn busy(result: Result<(), Error>) -> Result<(), Failed> {
    match result {
        Ok(()) | Err(Error::VolumeLocked { .. } | Error::Busy { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Creates a volume or a snapshot of the base. Returns false if the pool is full, or the volume was dropped on the way.
fn make(
    site: &Site,
    pool: &Pool,
    name: &str,
    kind: u64,
    chance: &mut Chance,
) -> Result<bool, Failed> {
    let new = match kind {
        7..=9 => pool.create_volume(&volume(name), Bytes::mib(16)),
        _ => pool.snapshot(&volume(BASE), &volume(name)),
    };
    let new = match new {
        Ok(new) => new,
        Err(Error::Full { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if kind <= 9 {
        fill_base(site, new.device())?;
    }
    mounted(site, new.device(), false, write_marker)?;
    match chance.below(8) {
        0 => return Ok(false),
        1..=3 => new.seal()?,
        _ => drop(new.keep()?),
    }
    Ok(true)
}
