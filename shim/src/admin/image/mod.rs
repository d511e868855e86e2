//! `image`: the bases, their names, and their containers.

mod export;
mod import;
mod inspect;
pub mod list;

use serde_json::json;
use sharedroot_bases::catalog::Facts;
use sharedroot_bases::{Bases, RootfsError, SnapshotName};
use sharedroot_dm::Volume;
use sharedroot_format::{BaseKey, ChainId, Lease, Use};
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount;
use sharedroot_sys::private_dir::private_dir;

use super::for_programs;
use crate::cli::Image;
use crate::lifecycle::LifecycleError;
use crate::record::Records;

/// Executes the command line.
///
/// # Errors
/// [`LifecycleError`].
pub fn run(bases: &Bases, verb: Image) -> Result<(), LifecycleError> {
    match verb {
        Image::Import { source, name, json } => {
            import::import(bases, &source, name.as_deref(), json)
        }
        Image::List { json } => list::list(bases, json),
        Image::Inspect { base } => inspect::inspect(bases, &find(bases, "image inspect", &base)?),
        Image::Rm { base, json } => remove(bases, &find(bases, "image rm", &base)?, json),
        Image::Verify { base, json } => {
            inspect::verify(bases, &find(bases, "image verify", &base)?, json)
        }
        Image::Export { base, output } => {
            export::export(bases, &find(bases, "image export", &base)?, output.as_deref())
        }
    }
}

/// One base, its facts, and its containers.
#[derive(Debug)]
pub struct Base {
    key: BaseKey,
    /// The names that users gave to the base.
    names: Vec<String>,
    /// The engine's names of the image.
    tags: Vec<String>,
    /// The snapshotter's name of the snapshot that the base is.
    snapshot: Option<String>,
    facts: Option<Facts>,
    volume: Volume,
    mounted: bool,
    /// The bytes in use; only known for a mounted base.
    used: Option<u64>,
    /// The IDs of the containers that share the base.
    shared: Vec<String>,
    /// The IDs of the containers that have a snapshot of the base.
    private: Vec<String>,
}

impl Base {
    /// The number of containers that use the base.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shared.len() + self.private.len()
    }

    /// The chain ID that is the last part of the name of an image's snapshot.
    fn chain_id(&self) -> Option<ChainId> {
        self.snapshot.as_ref()?.rsplit('/').next()?.parse().ok()
    }

    /// Tells a base that the snapshotter made what its snapshot is called.
    fn name_snapshot(&mut self, names: SnapshotName) {
        self.tags.extend(image_of(&names));
        self.snapshot = Some(names.name);
    }

    /// What the image is called: by its names, else by the chain ID of a snapshot. None if only the base's key is known.
    fn called(&self) -> Option<String> {
        if self.names.is_empty() && self.tags.is_empty() {
            let digits = self.chain_id()?.to_string();
            return Some(digits.chars().take("sha256:".len() + 12).collect());
        }
        Some(called(&self.names, &self.tags, &self.key))
    }
}

/// The base's name, or the beginning of its key. A name that is too long for a table is cut.
pub fn called(names: &[String], tags: &[String], key: &BaseKey) -> String {
    const LONGEST: usize = 40;
    let more = tags.iter().filter(|tag| !names.contains(tag));
    let all: Vec<_> = names.iter().chain(more).map(String::as_str).collect();
    let name = all.join(", ");
    match name.chars().count() {
        0 => key.short(),
        1..=LONGEST => name,
        _ => name.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// All bases.
///
/// # Errors
/// [`LifecycleError`].
pub fn all(bases: &Bases) -> Result<Vec<Base>, LifecycleError> {
    private_dir(bases.run_dir())?;
    // The store has the volumes of an inactive pool, too.
    let Some(pool) = bases.known_pool_if_made()? else {
        return Ok(Vec::new());
    };
    let called = bases.catalog().names().map_err(RootfsError::from)?;
    let mut all = Vec::new();
    for volume in pool.volumes().map_err(RootfsError::from)? {
        let Some(key) = key_of(bases, &volume) else { continue };
        let at = bases.base_mount(&key);
        let mounted = mount::device_mounted_at(&at).is_some();
        let used = mounted.then(|| rustix::fs::statvfs(&at).ok()).flatten();
        let used = used.map(|stat| (stat.f_blocks - stat.f_bfree) * stat.f_frsize);
        let (names, tags) = (called.given(&key), called.tags(&key));
        // Facts of an earlier base with this key do not apply to a base that is being made.
        let facts = called.catalog().facts(&key).filter(|_| volume.is_ready()).cloned();
        let (shared, private) = (Vec::new(), Vec::new());
        let snapshot = None;
        all.push(Base {
            key,
            names,
            tags,
            snapshot,
            facts,
            volume,
            mounted,
            used,
            shared,
            private,
        });
    }
    name_snapshots(bases, &mut all);
    bases.reconcile_leases(&Records(bases.run_dir()))?;
    for Lease { base, what, name, .. } in bases.leases().all().map_err(RootfsError::from)? {
        if let Some(found) = all.iter_mut().find(|b| b.key == base) {
            let private = what == Use::Private;
            if private { &mut found.private } else { &mut found.shared }.push(name);
        }
    }
    Ok(all)
}

/// The name of the image of a snapshot, for people. A client chose it, and a terminal shows it.
pub fn image_of(names: &SnapshotName) -> Option<String> {
    names.image.clone().filter(|image| !image.chars().any(char::is_control))
}

/// Where the snapshotter's table cannot be read, its bases have no names.
fn name_snapshots(bases: &Bases, all: &mut [Base]) {
    let mut names = bases
        .snapshot_names(all.iter().map(|base| &base.volume.name))
        .inspect_err(|error| tracing::debug!("the names of snapshots: {}", chain(error)))
        .unwrap_or_default();
    for base in all {
        if let Some(name) = names.remove(&base.key) {
            base.name_snapshot(name);
        }
    }
}

/// The key of the base that a volume holds. The volume of a layer is a base while it is mounted as one.
fn key_of(bases: &Bases, volume: &Volume) -> Option<BaseKey> {
    let of_layer = || bases.is_shared_layer(&volume.name).then(|| BaseKey::of_layer(&volume.name));
    volume.name.base().or_else(|| of_layer().filter(|_| volume.name.is_layer()))
}

/// Finds a base: by its name, else by the engine's name of its image or by the beginning of its key, if only one base
/// matches.
fn find(bases: &Bases, verb: &'static str, text: &str) -> Result<Base, LifecycleError> {
    let mut all = all(bases)?;
    let only = |is_it: &dyn Fn(&Base) -> bool| {
        let mut found = all.iter().enumerate().filter(|(_, base)| is_it(base));
        found.next().map(|(at, _)| at).filter(|_| found.next().is_none())
    };
    let has = |names: &[String]| names.iter().any(|name| name == text);
    let found = only(&|base| has(&base.names))
        .or_else(|| only(&|base| has(&base.tags)))
        .or_else(|| only(&|base| base.key.to_string().starts_with(text)));
    match found {
        Some(at) => Ok(all.swap_remove(at)),
        None => Err(LifecycleError::Argument {
            flag: verb,
            value: text.to_owned(),
            wanted: "give a name, or the beginning of exactly one key, that `sharedroot image list` shows",
        }),
    }
}

fn remove(bases: &Bases, base: &Base, as_json: bool) -> Result<(), LifecycleError> {
    if base.volume.name.is_layer() {
        return Err(LifecycleError::Argument {
            flag: "image rm",
            value: base.key.short(),
            wanted: "remove the image with its engine: the base is the snapshotter's",
        });
    }
    if let Some(id) = base.shared.iter().chain(&base.private).next() {
        return Err(RootfsError::InUse { key: base.key.clone(), id: id.clone() }.into());
    }
    bases.remove_base(&base.key)?;
    if as_json {
        for_programs(json!({ "key": base.key.to_string(), "removed": true }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sharedroot_dm::{Bytes, Phase, ThinId, VolumeName};

    use super::*;

    #[test]
    fn a_base_of_the_snapshotter_is_called_as_its_image() {
        let volume: VolumeName = "layer-00000001-7".parse().unwrap();
        let (size, phase) = (Bytes::gib(1), Phase::Ready);
        let id = ThinId::new(7).unwrap();
        let base = |name: &str, image: Option<&str>| {
            let volume = Volume {
                name: volume.clone(),
                id,
                size,
                origin: None,
                phase,
                sealed: true,
                active: true,
            };
            let mut base = Base {
                key: BaseKey::of_layer(&volume.name),
                names: Vec::new(),
                tags: Vec::new(),
                snapshot: None,
                facts: None,
                volume,
                mounted: true,
                used: None,
                shared: Vec::new(),
                private: Vec::new(),
            };
            base.name_snapshot(SnapshotName {
                name: name.to_owned(),
                image: image.map(str::to_owned),
            });
            base
        };
        let chain = format!("moby/3/sha256:{}", "0123456789abcdef".repeat(4));
        let pulled = base(&chain, Some("library/redis:7"));
        assert_eq!(pulled.called().as_deref(), Some("library/redis:7"));
        assert_eq!(pulled.snapshot.as_ref(), Some(&chain));
        assert_eq!(base(&chain, None).called().as_deref(), Some("sha256:0123456789ab"));
        assert_eq!(base(&chain, Some("x\x1b[2J")).called().as_deref(), Some("sha256:0123456789ab"));
        assert_eq!(base("moby/3/name", None).called(), None);
    }

    #[test]
    fn a_long_name_is_cut() {
        let key = crate::testing::key();
        let a_and_b = ["a".repeat(30), "b".repeat(30)];
        assert_eq!(called(&a_and_b, &[], &key), format!("{}, bbbbbbb…", "a".repeat(30)));
        assert_eq!(called(&["a".repeat(40)], &[], &key), "a".repeat(40));
        let [mine, tag] = ["mine", "redis:7"].map(str::to_owned);
        assert_eq!(
            called(std::slice::from_ref(&mine), &[mine.clone(), tag], &key),
            "mine, redis:7"
        );
        assert_eq!(called(&[], &[], &key), key.short());
    }
}
