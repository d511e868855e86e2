//! `status`: the pool, and what kind of root the containers have.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pool::Figures;
use crate::lifecycle::LifecycleError;
use crate::output::say;
use crate::record::{self, Record, Rootfs, private_dir};
use crate::rootfs::{Mislabelled, RootfsError, Storage};

/// The containers by what became of their roots.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Containers on a base.
    pub shared: usize,
    /// Containers on a snapshot.
    pub private: usize,
    /// The IDs, by the reason.
    pub as_given: BTreeMap<String, Vec<String>>,
}

impl FromIterator<Record> for Kinds {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut kinds = Self::default();
        for record in records {
            match record.rootfs {
                Rootfs::Shared { .. } => kinds.shared += 1,
                Rootfs::Private { .. } => kinds.private += 1,
                Rootfs::AsGiven { why } => kinds.as_given.entry(why).or_default().push(record.id),
            }
        }
        kinds
    }
}

impl Kinds {
    fn to_json(&self) -> Value {
        let as_given = self.as_given.iter().map(|(why, ids)| json!({ "why": why, "ids": ids }));
        json!({
            "shared": self.shared,
            "private": self.private,
            "as_given": as_given.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let given: usize = self.as_given.values().map(Vec::len).sum();
        let [shared, private] = [self.shared, self.private];
        let mut lines =
            vec![format!("roots     {shared} shared, {private} private, {given} as given")];
        for (why, ids) in &self.as_given {
            lines.push(format!("as given  {}: {why}", ids.len()));
        }
        lines
    }
}

/// The label of bases, and those that have another one; nothing where SELinux is off.
#[derive(Debug)]
struct Labels {
    /// What new mounts of bases get, or why there is none.
    shared: Option<Result<String, String>>,
    others: Vec<Mislabelled>,
}

impl Labels {
    fn of(storage: &Storage) -> Self {
        let label = storage.shared_label().map(|label| label.map(|label| label.to_string()));
        let shared = label.map_err(|error| error.to_string()).transpose();
        let others = storage.mislabelled().unwrap_or_default();
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
            let until = if *used { "containers have it; when they have ended, " } else { "" };
            let remedy = format!("{until}`sharedroot gc` unmounts it");
            lines.push(format!("label     the base {} still has {label}: {remedy}", key.short()));
        }
        lines
    }
}

/// Prints the status.
///
/// # Errors
/// [`LifecycleError`].
pub fn status(storage: &Storage, as_json: bool) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let figures = Figures::known(&storage.pool).map_err(RootfsError::from)?;
    let kinds: Kinds = record::all(&storage.pool.run_dir)?.into_iter().collect();
    let labels = Labels::of(storage);
    if as_json {
        let all = json!({
            "version": 1,
            "pool": figures.to_json(),
            "containers": kinds.to_json(),
            "labels": labels.to_json(),
        });
        say!("{all:#}");
        return Ok(());
    }
    figures.print(false);
    let lines = [kinds.lines(), labels.lines()].concat();
    lines.iter().for_each(|line| say!("{line}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Choice;
    use crate::label::MountLabel;

    #[test]
    fn a_base_with_another_label_is_named_with_the_remedy() {
        let label = |text: &str| MountLabel::parse(text).unwrap();
        let base = |used| Mislabelled {
            key: crate::image::example().key,
            label: label("u:r:old_t:s0"),
            used,
        };
        let shared = Some(Ok("u:r:new_t:s0".to_owned()));
        let lines = Labels { shared, others: vec![base(true), base(false)] }.lines();
        assert_eq!(lines[0], "label     u:r:new_t:s0");
        assert!(lines[1].contains("u:r:old_t:s0: containers have it"), "{lines:?}");
        assert!(lines[2].contains("u:r:old_t:s0: `sharedroot gc` unmounts it"), "{lines:?}");
        let none = Labels { shared: Some(Err("why".to_owned())), others: Vec::new() };
        assert_eq!(none.lines(), ["label     none: why"]);
        assert_eq!(none.to_json(), json!({ "shared": null, "refused": "why", "others": [] }));
        let off = Labels { shared: None, others: Vec::new() };
        assert_eq!(off.lines(), [""; 0]);
    }

    #[test]
    fn containers_are_counted_by_their_roots() {
        let given = |why: &str| Rootfs::AsGiven { why: why.into() };
        let roots = [
            Rootfs::Shared { base: "b".into(), scaffold: None },
            Rootfs::Private { base: "b".into(), volume: "v".into(), mount_point: "/m".into() },
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
            "roots     1 shared, 1 private, 3 as given",
            "as given  1: no layers",
            "as given  2: podman",
        ];
        assert_eq!(kinds.lines(), lines);
        let json = kinds.to_json();
        assert_eq!((&json["shared"], &json["private"]), (&json!(1), &json!(1)));
        assert_eq!(json["as_given"][1], json!({ "why": "podman", "ids": ["c2", "c4"] }));
    }
}
