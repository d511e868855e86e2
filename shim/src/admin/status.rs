//! `status`, on one screen: the pool, how many containers have which kind of rootfs, and the bases with their
//! containers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use sharedroot_bases::{Bases, Mislabelled, RootfsError};
use sharedroot_dm::{Bytes, Volume};
use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;
use sharedroot_sys::private_dir::private_dir;

use super::containerd_shim::Running;
use super::for_programs;
use super::image::{self, Base};
use super::pool::Figures;
use super::screen::{Line, Screen};
use super::snapshotter::Layers;
use crate::lifecycle::LifecycleError;
use crate::record::{self, Record, Rootfs};

/// The most lines of each part, so that the whole is one screen of 24 rows with room for a warning.
const MOST_BASES: usize = 6;
const MOST_REASONS: usize = 4;
const MOST_ROOTS: usize = 2;

/// The containers, by the kind of their rootfs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Containers on a base.
    pub shared: usize,
    /// Containers on a snapshot.
    pub private: usize,
    /// The IDs of containers that are not shared, by the reason.
    pub not_shared: BTreeMap<String, Vec<String>>,
}

impl FromIterator<Record> for Kinds {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut kinds = Self::default();
        for record in records {
            match record.rootfs {
                Rootfs::Shared { .. } => kinds.shared += 1,
                Rootfs::Private { .. } | Rootfs::Snapshot { .. } => kinds.private += 1,
                Rootfs::NotShared { why } => {
                    kinds.not_shared.entry(why).or_default().push(record.id)
                }
            }
        }
        kinds
    }
}

impl Kinds {
    fn to_json(&self) -> Value {
        let not_shared = self.not_shared.iter().map(|(why, ids)| json!({ "why": why, "ids": ids }));
        json!({
            "shared": self.shared,
            "private": self.private,
            "not_shared": not_shared.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let given: usize = self.not_shared.values().map(Vec::len).sum();
        let [shared, private] = [self.shared, self.private];
        let mut lines =
            vec![format!("roots     {shared} shared, {private} private, {given} not shared")];
        // The reasons with the most containers come first, each with the ID of one container.
        let mut reasons: Vec<_> = self.not_shared.iter().collect();
        reasons.sort_by_key(|(_, ids)| Reverse(ids.len()));
        for (why, ids) in reasons.iter().take(MOST_REASONS) {
            let one = ids.first().map_or("", |id| &id[..id.floor_char_boundary(12)]);
            lines.push(format!(
                "          {} not shared: {why} ({one}{})",
                ids.len(),
                match ids.len() {
                    1 => "",
                    _ => ", …",
                }
            ));
        }
        if let Some(more) = reasons.len().checked_sub(MOST_REASONS).filter(|more| *more > 0) {
            lines.push(format!("          {more} more reasons: `sharedroot status --json`"));
        }
        lines
    }
}

/// A private rootfs: how much of the pool it may use, and how much it uses.
#[derive(Debug, PartialEq, Eq)]
struct Private {
    id: String,
    /// The size of its snapshot.
    limit: Bytes,
    /// `None` if the pool cannot be read.
    used: Option<Bytes>,
}

impl Private {
    /// The private roots of `records`, the largest first.
    fn of(bases: &Bases, records: &[Record]) -> Result<Vec<Self>, RootfsError> {
        let volume = |record: &Record| match &record.rootfs {
            Rootfs::Private { volume, .. } | Rootfs::Snapshot { volume } => {
                Some((record.id.clone(), volume.clone()))
            }
            _ => None,
        };
        let named: Vec<_> = records.iter().filter_map(volume).collect();
        let Some(pool) = bases.known_pool_if_made()?.filter(|_| !named.is_empty()) else {
            return Ok(Vec::new());
        };
        let used = pool.exclusive_bytes().unwrap_or_else(|error| {
            tracing::debug!("read how much of the pool each root uses: {}", chain(&error));
            BTreeMap::new()
        });
        let sizes = pool.volumes()?.into_iter().map(|volume| (volume.name.clone(), volume));
        let sizes: BTreeMap<_, _> = sizes.collect();
        let known = |(id, volume): (String, VolumeName)| {
            let Volume { name, size, .. } = sizes.get(&volume)?;
            Some(Self { id, limit: *size, used: used.get(name).copied() })
        };
        let mut found: Vec<_> = named.into_iter().filter_map(known).collect();
        found.sort_by_key(|root| Reverse(root.used));
        Ok(found)
    }

    fn to_json(&self) -> Value {
        let used = self.used.map(|used| used.0);
        json!({ "id": self.id, "limit_bytes": self.limit.0, "used_bytes": used })
    }

    fn lines(roots: &[Self]) -> Vec<String> {
        let line = |root: &Self| {
            let id = &root.id[..root.id.floor_char_boundary(12)];
            let used = root.used.map_or("an unknown part".to_owned(), |used| used.to_string());
            format!("root      {id}: {used} of at most {}", root.limit)
        };
        let mut lines: Vec<_> = roots.iter().take(MOST_ROOTS).map(line).collect();
        if let Some(more) = roots.len().checked_sub(MOST_ROOTS).filter(|more| *more > 0) {
            lines.push(format!("root      {more} more: `sharedroot status --json`"));
        }
        lines
    }
}

/// The shared label, and the bases that have another label; empty if SELinux is off.
#[derive(Debug)]
struct Labels {
    /// The label of new mounts of bases, or the reason why there is none.
    shared: Option<Result<String, String>>,
    others: Vec<Mislabelled>,
}

impl Labels {
    fn of(bases: &Bases) -> Self {
        let label = bases.labels().shared().map(|label| label.map(|label| label.to_string()));
        let shared = label.map_err(|error| chain(&error)).transpose();
        let others = bases.labels().mislabelled().unwrap_or_default();
        Self { shared, others }
    }

    fn to_json(&self) -> Value {
        let (shared, refused) = match &self.shared {
            Some(Ok(label)) => (Some(label), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let others = self.others.iter().map(|Mislabelled { key, label, used }| {
            json!({ "base": key.to_string(), "label": label.to_string(), "used": used })
        });
        json!({ "shared": shared, "refused": refused, "others": others.collect::<Vec<_>>() })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = match &self.shared {
            Some(Ok(label)) => vec![format!("label     {label}")],
            Some(Err(why)) => vec![format!("label     none: {why}")],
            None => Vec::new(),
        };
        for Mislabelled { key, label, used } in &self.others {
            let until = if *used { "containers use it; when they have ended, " } else { "" };
            let remedy = format!("{until}`sharedroot gc` unmounts it");
            lines.push(format!("label     the base {} still has {label}: {remedy}", key.short()));
        }
        lines
    }
}

/// The bases with the most containers; no line without bases.
fn base_lines(mut bases: Vec<Base>) -> Vec<Line> {
    if bases.is_empty() {
        return Vec::new();
    }
    bases.sort_by_key(|base| Reverse(base.users()));
    let mut lines = vec![Line::plain("")];
    lines.extend(image::list::lines(bases.iter().take(MOST_BASES)));
    if let Some(more) = bases.len().checked_sub(MOST_BASES).filter(|more| *more > 0) {
        lines.push(Line::plain(format!("{more} more: `sharedroot image list`")));
    }
    lines
}

/// Prints the status.
///
/// # Errors
/// [`LifecycleError`].
pub fn status(bases: &Bases, as_json: bool) -> Result<(), LifecycleError> {
    private_dir(bases.run_dir())?;
    let figures = Figures::known(bases)?;
    let records = record::all(bases.run_dir())?;
    let private = Private::of(bases, &records)?;
    let kinds: Kinds = records.into_iter().collect();
    let labels = Labels::of(bases);
    let shims = Running::now();
    let layers = Layers::of(bases)?;
    let all = image::all(bases)?;
    if as_json {
        let images = all.iter().map(|base| image::list::json(bases, base));
        for_programs(json!({
            "pool": figures.to_json(),
            "containers": kinds.to_json(),
            "private_roots": private.iter().map(Private::to_json).collect::<Vec<_>>(),
            "labels": labels.to_json(),
            "shims": shims.to_json(),
            "snapshotter": layers.to_json(),
            "images": images.collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let screen = Screen::here();
    let shims = shims.words().map(|words| format!("shims     {words}"));
    let mut words = [labels.lines(), kinds.lines(), Private::lines(&private)].concat();
    words.extend(shims);
    words.extend(layers.lines());
    let mut lines = figures.lines(screen);
    lines.extend(words.into_iter().map(Line::plain));
    lines.extend(base_lines(all));
    screen.print(&lines);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharedroot_engine::Choice;
    use sharedroot_label::MountLabel;

    #[test]
    fn a_base_with_another_label_is_named_with_the_remedy() {
        let label = |text: &str| MountLabel::parse(text).unwrap();
        let base =
            |used| Mislabelled { key: crate::testing::key(), label: label("u:r:old_t:s0"), used };
        let shared = Some(Ok("u:r:new_t:s0".to_owned()));
        let lines = Labels { shared, others: vec![base(true), base(false)] }.lines();
        assert_eq!(lines[0], "label     u:r:new_t:s0");
        assert!(lines[1].contains("u:r:old_t:s0: containers use it"), "{lines:?}");
        assert!(lines[2].contains("u:r:old_t:s0: `sharedroot gc` unmounts it"), "{lines:?}");
        let none = Labels { shared: Some(Err("why".to_owned())), others: Vec::new() };
        assert_eq!(none.lines(), ["label     none: why"]);
        assert_eq!(none.to_json(), json!({ "shared": null, "refused": "why", "others": [] }));
        let off = Labels { shared: None, others: Vec::new() };
        assert_eq!(off.lines(), [""; 0]);
    }

    #[test]
    fn the_largest_roots_are_named_with_their_limits() {
        let root = |id: &str, used| Private { id: id.to_owned(), limit: Bytes::mib(64), used };
        let mut roots = vec![root("c-of-a-long-name", Some(Bytes::mib(3))), root("d", None)];
        let first = ["root      c-of-a-long-: 3 MiB of at most 64 MiB"];
        assert_eq!(Private::lines(&roots)[..1], first);
        assert_eq!(Private::lines(&roots)[1], "root      d: an unknown part of at most 64 MiB");
        assert_eq!(
            roots[0].to_json(),
            json!({ "id": "c-of-a-long-name", "limit_bytes": 64 << 20, "used_bytes": 3 << 20 })
        );
        roots.extend([root("e", None), root("f", None)]);
        assert_eq!(Private::lines(&roots)[2], "root      2 more: `sharedroot status --json`");
    }

    #[test]
    fn containers_are_counted_by_their_roots() {
        let given = |why: &str| Rootfs::NotShared { why: why.into() };
        let base = crate::testing::key();
        let roots = [
            Rootfs::Shared { base: base.clone(), scaffold: None },
            Rootfs::Private { base, volume: "v".parse().unwrap(), mount_point: "/m".into() },
            Rootfs::Snapshot { volume: "layer-00000001-7".parse().unwrap() },
            given("podman"),
            given("no layers"),
            given("podman"),
        ];
        let record = |(at, rootfs)| Record {
            id: format!("c{at}"),
            bundle: "/b".into(),
            engine: Choice::Libcontainer,
            root_path: "/r".into(),
            rootfs,
        };
        let kinds: Kinds = roots.into_iter().enumerate().map(record).collect();
        let lines = [
            "roots     1 shared, 2 private, 3 not shared",
            "          2 not shared: podman (c3, …)",
            "          1 not shared: no layers (c4)",
        ];
        assert_eq!(kinds.lines(), lines);
        let json = kinds.to_json();
        assert_eq!((&json["shared"], &json["private"]), (&json!(1), &json!(2)));
        assert_eq!(json["not_shared"][1], json!({ "why": "podman", "ids": ["c3", "c5"] }));
    }
}
