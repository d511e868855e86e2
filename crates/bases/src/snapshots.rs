//! The snapshotter's snapshots and their volumes: how many there are, what they take of the pool, and what was left of removed ones.
//! `sharedrootd` alone changes its table; what it would delete itself at its next start, another program may delete before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sharedroot_dm::{Bytes, Error as DmError, Pool, Volume, VolumeName};
use sharedroot_format::BaseKey;
use sharedroot_sys::byte_lock::ByteLock;

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::snapshot_table::{SnapshotKind, SnapshotName, SnapshotRow, SnapshotTable};

/// How many snapshots there are, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// The layers of images, and other committed snapshots.
    pub layers: usize,
    /// The snapshots that are written.
    pub active: usize,
    /// The snapshots that are read.
    pub views: usize,
    /// The pool's blocks of the layers; none if the pool is not active.
    pub layer_bytes: Option<Bytes>,
    /// The pool's blocks of the snapshots that are written; none if the pool is not active.
    pub active_bytes: Option<Bytes>,
}

/// Why nobody needs a volume of the snapshotter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needless {
    /// Its snapshot was removed. `sharedrootd` deletes it, too, when it runs.
    Removed,
    /// It belongs to a table of snapshots that is not here.
    OtherTable,
    /// It is an empty file system of another size or format than that of new snapshots.
    OtherEmpty,
}

/// What of the snapshotter does not fit together.
#[derive(Debug, Default)]
pub struct SnapshotLeftovers {
    /// Whether `sharedrootd` runs, which deletes the volumes of removed snapshots itself.
    pub is_served: bool,
    /// Volumes that nobody needs.
    pub needless: Vec<(VolumeName, Needless)>,
    /// Committed snapshots whose volumes the pool does not have.
    pub lost: Vec<SnapshotName>,
}

impl Bases {
    /// The figures of all snapshots. One query, and one walk of the pool's volumes.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn snapshot_figures(&self) -> Result<SnapshotFigures, RootfsError> {
        let Some(table) = SnapshotTable::open(self.state_dir())? else {
            return Ok(SnapshotFigures::default());
        };
        let rows = table.rows()?;
        let pool = self.known_pool_if_made()?.filter(|_| !rows.is_empty());
        let mapped = pool.map(Pool::mapped_of_all).transpose()?.flatten();
        let volumes = pool.map(Pool::volumes).transpose()?.unwrap_or_default();
        Ok(figures(&rows, &volumes, mapped.as_ref()))
    }

    /// The names of the snapshots of these volumes.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn snapshot_names<'v>(
        &self,
        volumes: impl IntoIterator<Item = &'v VolumeName>,
    ) -> Result<BTreeMap<BaseKey, SnapshotName>, RootfsError> {
        let mut layers = volumes.into_iter().filter(|volume| volume.is_layer()).peekable();
        let mut names = BTreeMap::new();
        let table = layers.peek().map(|_| SnapshotTable::open(self.state_dir())).transpose()?;
        let Some(table) = table.flatten() else { return Ok(names) };
        for volume in layers {
            if let Some(name) = table.name(volume)? {
                names.insert(BaseKey::of_layer(volume), name);
            }
        }
        Ok(names)
    }

    /// What of the snapshotter does not fit together. Changes nothing.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn snapshot_leftovers(&self) -> Result<SnapshotLeftovers, RootfsError> {
        let open = || SnapshotTable::open(self.state_dir());
        let is_held = |path: PathBuf| {
            let held = ByteLock::is_held(&path, 0);
            held.map_err(|source| RootfsError::SnapshotterLock { path, source })
        };
        let is_served = is_held(self.snapshotter_lock())? || is_held(self.snapshot_table_lock())?;
        let rows =
            |table: &Option<SnapshotTable>| table.as_ref().map(SnapshotTable::rows).transpose();
        let before = rows(&open()?)?.unwrap_or_default();
        let volumes = self.known_pool()?.volumes()?;
        // A volume is made after its row, so a volume that was seen has a row that is seen now. A volume of a row that is committed
        // before and now existed meanwhile.
        let table = open()?;
        let now = rows(&table)?.unwrap_or_default();
        let empty = VolumeName::of_empty(self.config().base_size.0);
        let tag = table.as_ref().map(SnapshotTable::tag);
        let needless = volumes.iter().filter(|volume| volume.is_ready()).filter_map(|volume| {
            let name = &volume.name;
            let is_of_table = tag.is_some_and(|tag| name.layer_of(tag).is_some());
            let why = match (name.is_layer(), is_of_table) {
                (true, true) if !now.contains_key(name) => Needless::Removed,
                (true, false) => Needless::OtherTable,
                (false, _) if name.is_empty_layer() && *name != empty => Needless::OtherEmpty,
                _ => return None,
            };
            Some((name.clone(), why))
        });
        let needless = needless.collect();
        let mut lost = Vec::new();
        for volume in without_volume(&before, &now, &volumes) {
            lost.extend(table.as_ref().map(|table| table.name(volume)).transpose()?.flatten());
        }
        Ok(SnapshotLeftovers { is_served, needless, lost })
    }

    /// Whether [`delete_needless`](Self::delete_needless) would delete the volume now. Changes nothing.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn is_needless_idle(&self, volume: &VolumeName) -> Result<bool, RootfsError> {
        // The mount as a base is taken away before the deletion, and only a container's mount of it counts.
        Ok(self.is_shared_layer(volume) || !self.known_pool()?.is_in_use(volume)?)
    }

    /// Deletes a volume that nobody needs. Returns whether it was deleted: a volume in use is not.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn delete_needless(&self, volume: &VolumeName) -> Result<bool, RootfsError> {
        self.unshare_layer(volume)?;
        match self.active_pool()?.delete(volume) {
            Ok(_) => Ok(true),
            Err(DmError::Busy { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The committed snapshots, before and now, whose volumes are not there.
fn without_volume<'r>(
    before: &BTreeMap<VolumeName, SnapshotRow>,
    now: &'r BTreeMap<VolumeName, SnapshotRow>,
    volumes: &[Volume],
) -> Vec<&'r VolumeName> {
    let there: BTreeSet<_> =
        volumes.iter().filter(|volume| volume.is_ready()).map(|volume| &volume.name).collect();
    let has_one =
        |row: &SnapshotRow| row.kind == SnapshotKind::Layer && row.is_listed && !row.shows;
    let is_lost = |(name, row): &(&VolumeName, &SnapshotRow)| {
        has_one(row) && before.get(*name).is_some_and(has_one) && !there.contains(name)
    };
    now.iter().filter(is_lost).map(|(name, _)| name).collect()
}

/// A volume takes what it has mapped beyond its origin. Blocks that it has written over do not count, because their number is the
/// same.
fn figures(
    rows: &BTreeMap<VolumeName, SnapshotRow>,
    volumes: &[Volume],
    mapped: Option<&BTreeMap<VolumeName, Bytes>>,
) -> SnapshotFigures {
    let count = |kind| rows.values().filter(|row| row.is_listed && row.kind == kind).count();
    let bytes = |kind| {
        let size = |name: &VolumeName| mapped?.get(name).map(|size| size.0);
        let own = |volume: &Volume| {
            let of_origin = volume.origin.as_ref().and_then(size).unwrap_or_default();
            size(&volume.name).unwrap_or_default().saturating_sub(of_origin)
        };
        let is_it = |volume: &&Volume| rows.get(&volume.name).is_some_and(|row| row.kind == kind);
        mapped.map(|_| Bytes(volumes.iter().filter(is_it).map(own).sum()))
    };
    SnapshotFigures {
        layers: count(SnapshotKind::Layer),
        active: count(SnapshotKind::Active),
        views: count(SnapshotKind::View),
        layer_bytes: bytes(SnapshotKind::Layer),
        active_bytes: bytes(SnapshotKind::Active),
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_dm::{Phase, ThinId};

    use super::*;

    fn name(number: u64) -> VolumeName {
        VolumeName::of_layer(sharedroot_format::TableTag::new(7), number)
    }

    fn volume(number: u64, origin: Option<u64>, phase: Phase) -> Volume {
        let id = ThinId::new(u32::try_from(number).unwrap()).unwrap();
        let (size, origin) = (Bytes::gib(1), origin.map(name));
        Volume { name: name(number), id, size, origin, phase, sealed: false, active: false }
    }

    fn row(kind: SnapshotKind) -> SnapshotRow {
        SnapshotRow { kind, is_listed: true, shows: false }
    }

    #[test]
    fn a_snapshot_takes_what_its_origin_has_not() {
        use SnapshotKind::{Active, Layer, View};
        let hidden = SnapshotRow { is_listed: false, ..row(Layer) };
        let rows = [row(Layer), row(Layer), row(Active), row(View), hidden];
        let rows: BTreeMap<_, _> = (1..).map(name).zip(rows).collect();
        let ready = |number, origin| volume(number, Some(origin), Phase::Ready);
        // The volume 0 is the empty file system. The active snapshot 3 is shorter than its origin.
        let volumes = [ready(1, 0), ready(2, 1), ready(3, 2), ready(5, 2), ready(6, 2)];
        let mapped = [(0, 2), (1, 12), (2, 20), (3, 25), (5, 21), (6, 99)];
        let mapped: BTreeMap<_, _> =
            mapped.into_iter().map(|(number, mib)| (name(number), Bytes::mib(mib))).collect();
        let found = figures(&rows, &volumes, Some(&mapped));
        assert_eq!((found.layers, found.active, found.views), (2, 1, 1));
        assert_eq!(found.layer_bytes, Some(Bytes::mib(10 + 8 + 1)));
        assert_eq!(found.active_bytes, Some(Bytes::mib(5)));
        let smaller = BTreeMap::from([(name(2), Bytes::mib(20)), (name(3), Bytes::mib(3))]);
        assert_eq!(figures(&rows, &volumes, Some(&smaller)).active_bytes, Some(Bytes(0)));
        let inactive = figures(&rows, &volumes, None);
        assert_eq!((inactive.layers, inactive.layer_bytes, inactive.active_bytes), (2, None, None));
    }

    #[test]
    fn ten_thousand_snapshots_are_counted_at_once() {
        const MANY: u64 = 10_000;
        let rows: BTreeMap<_, _> =
            (1..=MANY).map(|number| (name(number), row(SnapshotKind::Layer))).collect();
        let volumes: Vec<_> =
            (1..=MANY).map(|number| volume(number, Some(number - 1), Phase::Ready)).collect();
        let mapped = (1..=MANY).map(|number| (name(number), Bytes::mib(number))).collect();
        let began = std::time::Instant::now();
        let found = figures(&rows, &volumes, Some(&mapped));
        assert_eq!((found.layers as u64, found.layer_bytes), (MANY, Some(Bytes::mib(MANY))));
        assert!(without_volume(&rows, &rows, &volumes).is_empty());
        assert_eq!(without_volume(&rows, &rows, &[]).len() as u64, MANY);
        // A comparison of each one with all others takes minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn only_a_layer_that_was_there_before_is_lost() {
        use SnapshotKind::{Active, Layer, View};
        let shows = SnapshotRow { shows: true, ..row(Layer) };
        let hidden = SnapshotRow { is_listed: false, ..row(Layer) };
        let of = |rows: &[SnapshotRow]| (1..).map(name).zip(rows.iter().copied()).collect();
        let before: BTreeMap<_, _> =
            of(&[row(Layer), row(Layer), row(Active), row(View), shows, hidden, row(Active)]);
        let now: BTreeMap<_, _> =
            of(&[row(Layer), row(Layer), row(Active), row(View), shows, hidden, row(Layer)]);
        let volumes = [volume(1, None, Phase::Ready), volume(2, None, Phase::Deleting)];
        // The last one was committed meanwhile.
        assert_eq!(without_volume(&before, &now, &volumes), [&name(2)]);
        let removed = BTreeMap::from([(name(1), row(Layer))]);
        assert!(without_volume(&before, &removed, &volumes).is_empty());
    }
}
