//! Which containers use which base.

use std::collections::BTreeMap;

use sharedroot_bases::Bases;
use sharedroot_format::BaseKey;

use crate::record::{self, Record, RecordError, Rootfs};

/// The containers of one base.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Users {
    /// How many containers share the base.
    pub shared: usize,
    /// How many containers have a snapshot of the base.
    pub private: usize,
}

/// The containers by their bases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ByBase {
    /// The containers of each base that has any.
    pub users: BTreeMap<BaseKey, Users>,
    /// How many containers run on the engine's rootfs, not shared.
    pub not_shared: usize,
    /// How many containers have a snapshot of the snapshotter's.
    pub snapshots: usize,
}

impl ByBase {
    /// The containers that have a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn now(bases: &Bases) -> Result<Self, RecordError> {
        Ok(record::all(bases.run_dir())?.into_iter().collect())
    }

    /// Counts all containers, by the kind of their rootfs.
    pub fn total(&self) -> Users {
        let snapshots = Users { shared: 0, private: self.snapshots };
        self.users.values().fold(snapshots, |sum, of| Users {
            shared: sum.shared + of.shared,
            private: sum.private + of.private,
        })
    }
}

impl FromIterator<Record> for ByBase {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut found = Self::default();
        for record in records {
            let Some(key) = record.rootfs.base().cloned() else {
                match record.rootfs {
                    Rootfs::Snapshot { .. } => found.snapshots += 1,
                    _ => found.not_shared += 1,
                }
                continue;
            };
            let users = found.users.entry(key).or_default();
            match record.rootfs {
                Rootfs::Shared { .. } => users.shared += 1,
                Rootfs::Private { .. } | Rootfs::Snapshot { .. } | Rootfs::NotShared { .. } => {
                    users.private += 1;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharedroot_engine::Choice;

    #[test]
    fn containers_are_counted_by_base_and_kind() {
        let key = crate::testing::key();
        let other: BaseKey = "ab".repeat(32).parse().unwrap();
        let shared = |base: &BaseKey| Rootfs::Shared { base: base.clone(), scaffold: None };
        let private = |base: &BaseKey| Rootfs::Private {
            base: base.clone(),
            volume: "v".parse().unwrap(),
            mount_point: "/m".into(),
        };
        let given = Rootfs::NotShared { why: "podman".into() };
        let snapshot = Rootfs::Snapshot { volume: "layer-00000001-7".parse().unwrap() };
        let roots = [shared(&key), private(&key), shared(&key), private(&other), given, snapshot];
        let found: ByBase = roots
            .into_iter()
            .map(|rootfs| Record {
                id: "c".into(),
                bundle: "/b".into(),
                engine: Choice::Libcontainer,
                root_path: "/r".into(),
                rootfs,
            })
            .collect();
        assert_eq!(found.users[&key], Users { shared: 2, private: 1 });
        assert_eq!(found.users[&other], Users { shared: 0, private: 1 });
        assert_eq!((found.users.len(), found.not_shared), (2, 1));
        assert_eq!(found.total(), Users { shared: 2, private: 3 });
    }
}
