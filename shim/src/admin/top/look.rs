//! The figures of `top` at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use sharedroot_bases::{Bases, Config, RootfsError, SnapshotName};
use sharedroot_format::BaseKey;
use sharedroot_sys::chain::chain;
use sharedroot_sys::process_start::Moment;

use super::latency::{self, Latencies};
use super::resident::{Resident, Uncounted};
use super::users::{ByBase, Users};
use crate::admin::containerd_shim::Running;
use crate::admin::image::image_of;
use crate::admin::pool::Figures;
use crate::admin::snapshots::Snapshots;
use crate::lifecycle::LifecycleError;
use crate::starts;

/// How long starts are remembered.
const PERIOD: Duration = Duration::from_secs(3600);

/// Collects the figures, and keeps between two updates what does not change.
#[derive(Debug)]
pub struct Looker<'s> {
    config: &'s Config,
    all: bool,
    resident: Resident,
}

/// The figures.
#[derive(Debug)]
pub struct Look {
    /// The figures of the pool.
    pub pool: Figures,
    /// Containers on bases.
    pub users: Users,
    /// Containers on the engine's rootfs, not shared.
    pub not_shared: usize,
    /// containerd's shims.
    pub shims: Running,
    /// The snapshotter's snapshots.
    pub snapshots: Snapshots,
    /// The starts of these containers.
    pub given_starts: Latencies,
    /// The bases; those that save the most come first.
    pub images: Vec<Image>,
}

/// A base.
#[derive(Debug)]
pub struct Image {
    /// Its key.
    pub key: BaseKey,
    /// The names that users gave to the base.
    pub names: Vec<String>,
    /// The engine's names of the image.
    pub tags: Vec<String>,
    /// The base's containers.
    pub users: Users,
    /// How many bytes of the base's files are in memory.
    pub resident: Result<u64, Uncounted>,
    /// The starts on the base.
    pub starts: Latencies,
}

impl<'s> Looker<'s> {
    /// With `all`, mounted bases without a container are included.
    pub fn new(config: &'s Config, all: bool) -> Self {
        Self { config, all, resident: Resident::default() }
    }

    /// Collects the figures of bases with containers, and of bases on which a container started.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn look(&mut self) -> Result<Look, LifecycleError> {
        // The pool may be destroyed and made again between two updates.
        let bases = Bases::new(self.config.clone());
        let run_dir = bases.run_dir();
        let pool = Figures::known(&bases)?;
        let by_base = ByBase::now(&bases)?;
        let notes = starts::of_the_last(run_dir, PERIOD, Moment::now());
        let notes = notes.map_err(|source| LifecycleError::File {
            step: "read the notes of starts in",
            path: run_dir.to_owned(),
            source,
        })?;
        let mut starts = latency::by_base(notes);
        let given_starts = starts.remove(&None).unwrap_or_default();
        let mounted = if self.all { bases.mounted_bases()? } else { Vec::new() };
        let started = starts.keys().flatten();
        let keys: BTreeSet<_> =
            by_base.users.keys().chain(started).chain(&mounted).cloned().collect();
        let called = bases.catalog().names().map_err(RootfsError::from)?;
        let of_snapshots = snapshot_names(&bases, &keys)?;
        let mut images = Vec::new();
        for key in keys {
            let users = by_base.users.get(&key).copied().unwrap_or_default();
            let counts = self.all || users != Users::default();
            let resident = match counts {
                true => self.resident.bytes(&key, &bases.base_mount(&key)),
                false => Err(Uncounted::NoContainer),
            };
            let (names, mut tags) = (called.given(&key), called.tags(&key));
            tags.extend(of_snapshots.get(&key).and_then(image_of));
            let starts = starts.remove(&Some(key.clone())).unwrap_or_default();
            images.push(Image { key, names, tags, users, resident, starts });
        }
        images.sort_by_key(|image| {
            std::cmp::Reverse((image.saved(), image.users.shared, image.users.private))
        });
        let (users, not_shared) = (by_base.total(), by_base.not_shared);
        let (shims, snapshots) = (Running::now(), Snapshots::now(&bases));
        Ok(Look { pool, users, not_shared, shims, snapshots, given_starts, images })
    }
}

/// The names of the snapshots that are bases.
fn snapshot_names(
    bases: &Bases,
    keys: &BTreeSet<BaseKey>,
) -> Result<BTreeMap<BaseKey, SnapshotName>, RootfsError> {
    let Some(pool) = bases.known_pool_if_made()?.filter(|_| !keys.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let mut volumes = pool.volumes()?;
    volumes
        .retain(|volume| volume.name.is_layer() && keys.contains(&BaseKey::of_layer(&volume.name)));
    let names = bases.snapshot_names(volumes.iter().map(|volume| &volume.name));
    Ok(names
        .inspect_err(|error| tracing::debug!("the names of snapshots: {}", chain(error)))
        .unwrap_or_default())
}

impl Image {
    /// The bytes that private copies would take for the containers that share the base, except the first. `None` if it
    /// is unknown what is in memory.
    pub fn saved(&self) -> Option<u64> {
        let others = self.users.shared.saturating_sub(1) as u64;
        self.resident.as_ref().ok().map(|resident| resident * others)
    }

    fn to_json(&self) -> Value {
        json!({
            "key": self.key.to_string(),
            "names": self.names,
            "tags": self.tags,
            "shared": self.users.shared,
            "private": self.users.private,
            "resident_bytes": self.resident.as_ref().ok(),
            "uncounted": self.resident.as_ref().err().map(|error| chain(error)),
            "saved_bytes": self.saved(),
            "starts": starts_json(&self.starts),
        })
    }
}

impl Look {
    /// The bytes that all bases save together, as far as they are known.
    pub fn saved(&self) -> u64 {
        self.images.iter().filter_map(Image::saved).sum()
    }

    /// The JSON has the same keys whatever is known.
    pub fn to_json(&self) -> Value {
        json!({
            "pool": self.pool.to_json(),
            "containers": {
                "shared": self.users.shared,
                "private": self.users.private,
                "not_shared": self.not_shared,
            },
            "saved_bytes": self.saved(),
            "shims": self.shims.to_json(),
            "snapshots": self.snapshots.to_json(),
            "images": self.images.iter().map(Image::to_json).collect::<Vec<_>>(),
            "not_shared": { "starts": starts_json(&self.given_starts) },
        })
    }
}

fn starts_json(starts: &Latencies) -> Value {
    let micros = |percent| starts.percentile(percent).map(|took| took.as_micros() as u64);
    json!({ "count": starts.count(), "p50_us": micros(50), "p99_us": micros(99) })
}

#[cfg(test)]
impl Look {
    /// Three images: shared by three, not mounted, and only started on.
    pub fn example() -> Self {
        use crate::starts::{Note, Step};
        use sharedroot_dm::Bytes;
        let key = |digit: &str| digit.repeat(64).parse::<BaseKey>().unwrap();
        let note = |step, millis, container: &str| Note {
            step,
            at: Moment::of_nanos(0),
            took: Duration::from_millis(millis),
            container: container.to_owned(),
        };
        let notes = vec![
            note(Step::Whole(Some(key("a"))), 12, "1"),
            note(Step::Whole(Some(key("a"))), 1250, "2"),
            note(Step::Whole(None), 90, "3"),
        ];
        let mut starts = latency::by_base(notes);
        let mut image = |digit, names: &[&str], shared, private, resident| Image {
            key: key(digit),
            names: names.iter().map(ToString::to_string).collect(),
            tags: Vec::new(),
            users: Users { shared, private },
            resident,
            starts: starts.remove(&Some(key(digit))).unwrap_or_default(),
        };
        let images = vec![
            image("a", &["lab/debian:12"], 3, 1, Ok(5 << 20)),
            image("b", &[], 0, 2, Err(Uncounted::NotMounted)),
            image("c", &[], 1, 0, Err(Uncounted::NoTool)),
        ];
        let given_starts = starts.remove(&None).unwrap();
        let (users, not_shared) = (Users { shared: 4, private: 3 }, 1);
        let shims = Running { servers: 2, memory: Bytes::mib(3) };
        let (pool, snapshots) = (Figures::example(), Snapshots::example());
        Self { pool, users, not_shared, shims, snapshots, given_starts, images }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_copy_for_each_but_the_first_is_saved() {
        let look = Look::example();
        let saved: Vec<_> = look.images.iter().map(Image::saved).collect();
        assert_eq!(saved, [Some(10 << 20), None, None]);
        assert_eq!(look.saved(), 10 << 20);
        let none = Image { users: Users { shared: 0, private: 5 }, ..one(1 << 20) };
        assert_eq!(none.saved(), Some(0));
        let alone = Image { users: Users { shared: 1, private: 5 }, ..one(1 << 20) };
        assert_eq!(alone.saved(), Some(0));
    }

    fn one(resident: u64) -> Image {
        Image { resident: Ok(resident), ..Look::example().images.swap_remove(0) }
    }

    #[test]
    fn programs_get_the_same_keys_whatever_is_known() {
        let json = Look::example().to_json();
        assert_eq!(json["containers"], json!({ "shared": 4, "private": 3, "not_shared": 1 }));
        assert_eq!(json["saved_bytes"], 10 << 20);
        assert_eq!(
            (&json["snapshots"]["layers"], &json["snapshots"]["active"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(json["images"][0]["saved_bytes"], 10 << 20);
        let starts = json!({ "count": 2, "p50_us": 12_000, "p99_us": 1_250_000 });
        assert_eq!(json["images"][0]["starts"], starts);
        assert_eq!(json["images"][0]["uncounted"], Value::Null);
        assert_eq!(json["images"][1]["resident_bytes"], Value::Null);
        assert_eq!(json["images"][1]["uncounted"], "the base is not mounted");
        let none = json!({ "count": 0, "p50_us": null, "p99_us": null });
        assert_eq!(json["images"][1]["starts"], none);
        assert_eq!(json["not_shared"]["starts"]["count"], 1);
        let keys = |at: usize| {
            let image = json["images"][at].as_object().unwrap();
            image.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(0), keys(1));
    }
}
