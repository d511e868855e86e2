//! From containerd's messages to calls, and back.

use std::collections::BTreeMap;

use sharedroot_task::messages::snapshots::*;
use sharedroot_task::messages::{Empty, Timestamp};

use crate::error::Error;
use crate::key::{BadName, Key};
use crate::labels::Labels;
use crate::snapshots::Snapshots;
use crate::table::{self, Commit, New, TableError, Time};

/// How many snapshots one part of a list has.
const PART: usize = 100;

/// `Prepare`.
pub fn prepare(
    snapshots: &Snapshots,
    request: PrepareSnapshotRequest,
) -> Result<PrepareSnapshotResponse, Error> {
    let PrepareSnapshotRequest { snapshotter, key, parent, labels } = request;
    let (space, key, parent) = (snapshotter.parse()?, key.parse()?, optional(&parent)?);
    let labels = sound(labels)?;
    let new = New { space: &space, key: &key, parent: parent.as_ref(), labels: &labels };
    Ok(PrepareSnapshotResponse { mounts: vec![snapshots.prepare(new)?] })
}

/// `View`.
pub fn view(
    snapshots: &Snapshots,
    request: ViewSnapshotRequest,
) -> Result<ViewSnapshotResponse, Error> {
    let ViewSnapshotRequest { snapshotter, key, parent, labels } = request;
    let (space, key, parent) = (snapshotter.parse()?, key.parse()?, optional(&parent)?);
    let labels = sound(labels)?;
    let new = New { space: &space, key: &key, parent: parent.as_ref(), labels: &labels };
    Ok(ViewSnapshotResponse { mounts: vec![snapshots.view(new)?] })
}

/// `Mounts`.
pub fn mounts(snapshots: &Snapshots, request: MountsRequest) -> Result<MountsResponse, Error> {
    let mount = snapshots.mounts(&request.snapshotter.parse()?, &request.key.parse()?)?;
    Ok(MountsResponse { mounts: vec![mount] })
}

/// `Commit`.
pub fn commit(snapshots: &Snapshots, request: CommitSnapshotRequest) -> Result<Empty, Error> {
    let CommitSnapshotRequest { snapshotter, name, key, labels, parent } = request;
    let (space, key, name) = (snapshotter.parse()?, key.parse()?, name.parse()?);
    let (labels, parent) = (sound(labels)?, optional(&parent)?);
    snapshots.commit(Commit {
        space: &space,
        key: &key,
        name: &name,
        labels: &labels,
        parent: parent.as_ref(),
    })?;
    Ok(Empty {})
}

/// `Remove`.
pub fn remove(snapshots: &Snapshots, request: RemoveSnapshotRequest) -> Result<Empty, Error> {
    snapshots.remove(&request.snapshotter.parse()?, &request.key.parse()?)?;
    Ok(Empty {})
}

/// `Stat`.
pub fn stat(
    snapshots: &Snapshots,
    request: StatSnapshotRequest,
) -> Result<StatSnapshotResponse, Error> {
    let info = snapshots.stat(&request.snapshotter.parse()?, &request.key.parse()?)?;
    Ok(StatSnapshotResponse { info: Some(told(info)) })
}

/// `Update`.
pub fn update(
    snapshots: &Snapshots,
    request: UpdateSnapshotRequest,
) -> Result<UpdateSnapshotResponse, Error> {
    let Info { name, labels, .. } = request.info.ok_or(Error::Missing { what: "info" })?;
    let paths = request.update_mask.unwrap_or_default().paths;
    let info = snapshots.update(&request.snapshotter.parse()?, &name.parse()?, labels, &paths)?;
    Ok(UpdateSnapshotResponse { info: Some(told(info)) })
}

/// `List`: the parts of the answer.
pub fn list(
    snapshots: &Snapshots,
    request: ListSnapshotsRequest,
) -> Result<Vec<ListSnapshotsResponse>, Error> {
    let all = snapshots.list(&request.snapshotter.parse()?, &request.filters)?;
    let mut parts: Vec<ListSnapshotsResponse> = Vec::new();
    for info in all {
        match parts.last_mut().filter(|part| part.info.len() < PART) {
            Some(part) => part.info.push(told(info)),
            None => parts.push(ListSnapshotsResponse { info: vec![told(info)] }),
        }
    }
    Ok(parts)
}

/// `Usage`. The number of files is not known in a bounded time, so it is 0.
pub fn usage(snapshots: &Snapshots, request: UsageRequest) -> Result<UsageResponse, Error> {
    let size = snapshots.usage(&request.snapshotter.parse()?, &request.key.parse()?)?;
    Ok(UsageResponse { size: i64::try_from(size.0).unwrap_or(i64::MAX), inodes: 0 })
}

/// `Cleanup`.
pub fn cleanup(snapshots: &Snapshots, _request: CleanupRequest) -> Result<Empty, Error> {
    snapshots.cleanup();
    Ok(Empty {})
}

/// A name that a client may leave out.
fn optional(text: &str) -> Result<Option<Key>, BadName> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn sound(labels: BTreeMap<String, String>) -> Result<Labels, TableError> {
    Ok(Labels::try_from(labels)?)
}

fn told(table::Info { row, labels }: table::Info) -> Info {
    let kind = match row.kind {
        table::Kind::Active => Kind::Active,
        table::Kind::View => Kind::View,
        table::Kind::Committed => Kind::Committed,
    };
    Info {
        name: row.name.to_string(),
        parent: row.parent.map(|parent| parent.name.to_string()).unwrap_or_default(),
        kind: kind.into(),
        created_at: Some(timestamp(row.created)),
        updated_at: Some(timestamp(row.updated)),
        labels: labels.into(),
    }
}

fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.parts();
    Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use sharedroot_bases::{Bases, Config};
    use sharedroot_dm::{Bytes, PoolConfig};

    use super::*;
    use crate::hints::Hints;
    use crate::key::Space;
    use crate::own_mounts::OwnMounts;
    use crate::table::Table;
    use crate::volumes::Volumes;

    #[test]
    fn a_list_comes_in_parts_of_a_hundred() {
        let dir = tempfile::tempdir().unwrap();
        let table = Table::open(dir.path()).unwrap();
        let space: Space = "a".parse().unwrap();
        for number in 0..250 {
            let key: Key = format!("k{number:03}").parse().unwrap();
            let labels = sound([("number".to_owned(), number.to_string())].into()).unwrap();
            let new = New { space: &space, key: &key, parent: None, labels: &labels };
            table.create(table::Kind::Active, new).unwrap();
        }
        let place = |name: &str| dir.path().join(name);
        let config = PoolConfig::on_loop("none".parse().unwrap(), place("state"), place("run"));
        let (pool, base_size) = (config, Bytes::gib(1));
        let bases = Bases::new(Config { pool, base_size, base_wait: true, shared_label: None });
        let volumes = Volumes::new(bases, table.tag());
        let own_mounts = OwnMounts::below(&place("run"));
        let hints = Hints { docker: Vec::new(), containerd: None };
        let snapshots = Snapshots::new(table, volumes, own_mounts, hints);
        let ask = |filters: &[&str]| {
            let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
            let request = ListSnapshotsRequest { snapshotter: "a".to_owned(), filters };
            list(&snapshots, request).unwrap()
        };
        let parts = ask(&[]);
        assert_eq!(parts.iter().map(|part| part.info.len()).collect::<Vec<_>>(), [100, 100, 50]);
        let names = parts.iter().flat_map(|part| &part.info).map(|info| info.name.clone());
        assert!(names.eq((0..250).map(|number| format!("k{number:03}"))));
        let one = ask(&["labels.number==7,kind==active"]);
        let [ListSnapshotsResponse { info }] = one.as_slice() else { panic!("{one:?}") };
        assert_eq!((info[0].name.as_str(), info[0].parent.as_str()), ("k007", ""));
        assert_eq!(info[0].kind(), Kind::Active);
        assert!(info[0].created_at.is_some_and(|at| at.seconds > 1_600_000_000));
        assert_eq!(ask(&["kind==view"]), []);
        assert!(!place("state").exists(), "a list opens no pool");
    }
}
