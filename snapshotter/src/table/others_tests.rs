//! Other programs read the table while the daemon writes it (`sharedroot-bases`, `snapshot_table.rs`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sharedroot_bases::{SnapshotKind, SnapshotRow, SnapshotTable, SnapshotTableError};
use sharedroot_format::VolumeName;

use super::*;
use crate::key::{Key, Space};
use crate::labels::Labels;

const IMAGE: &str = "containerd.io/snapshot/cri.image-ref";

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn space() -> Space {
    "a".parse().unwrap()
}

fn labels(image: Option<&str>) -> Labels {
    let map: BTreeMap<_, _> =
        image.into_iter().map(|image| (IMAGE.to_owned(), image.to_owned())).collect();
    map.try_into().unwrap()
}

fn create(table: &Table, kind: Kind, name: &str, parent: Option<&str>) -> Row {
    let (space, key, parent) = (space(), key(name), parent.map(key));
    let labels = labels(None);
    let new = New { space: &space, key: &key, parent: parent.as_ref(), labels: &labels };
    table.create(kind, new).unwrap()
}

fn commit(table: &Table, from: &str, name: &str, image: Option<&str>) -> RowId {
    let (space, key, name, labels) = (space(), key(from), key(name), labels(image));
    let commit = Commit { space: &space, key: &key, name: &name, labels: &labels, parent: None };
    table.commit(commit).unwrap()
}

/// What another program finds in the state directory.
fn read(dir: &Path) -> SnapshotTable {
    SnapshotTable::open(dir).unwrap().expect("there is a table")
}

#[test]
fn others_read_what_the_daemon_wrote() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SnapshotTable::open(dir.path()).unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a look makes nothing");
    fs::write(dir.path().join("snapshots.db"), "").unwrap();
    assert!(SnapshotTable::open(dir.path()).unwrap().is_none(), "the daemon has just made it");
    let table = Table::open(dir.path()).unwrap();
    let empty = read(dir.path());
    assert_eq!((empty.tag(), empty.rows().unwrap()), (table.tag(), BTreeMap::new()));

    create(&table, Kind::Active, "making", None);
    let base = commit(&table, "making", "moby/1/sha256:00", Some("library/redis:7"));
    let active = create(&table, Kind::Active, "moby/2/c1", Some("moby/1/sha256:00")).id;
    let view = create(&table, Kind::View, "moby/3/v", Some("moby/1/sha256:00")).id;
    let init = table.ensure_init_of(base).unwrap().id;
    let shows = create(&table, Kind::Active, "moby/4/c2", Some("moby/1/sha256:00")).id;
    table.show(shows, Some(base)).unwrap();
    let volume = |id: RowId| VolumeName::of_layer(table.tag(), id.get());
    let row = |kind, is_listed, shows| SnapshotRow { kind, is_listed, shows };
    let expected = BTreeMap::from([
        (volume(base), row(SnapshotKind::Layer, true, false)),
        (volume(active), row(SnapshotKind::Active, true, false)),
        (volume(view), row(SnapshotKind::View, true, false)),
        (volume(init), row(SnapshotKind::Layer, false, false)),
        (volume(shows), row(SnapshotKind::Active, true, true)),
    ]);
    let now = read(dir.path());
    assert_eq!(now.rows().unwrap(), expected);
    for id in [base, init] {
        let name = now.name(&volume(id)).unwrap().expect("a name");
        assert_eq!(name.name, "moby/1/sha256:00");
        assert_eq!(name.image.as_deref(), Some("library/redis:7"));
    }
    assert_eq!(now.name(&volume(active)).unwrap().expect("a name").image, None);
    for other in ["layer-00000000-1", "base-x", "private-1"] {
        assert_eq!(now.name(&other.parse().unwrap()).unwrap(), None, "{other}");
    }
    // A reader sees one moment, and holds up nobody.
    table.remove(&space(), &key("moby/3/v")).unwrap();
    assert_eq!(now.rows().unwrap(), expected);
    assert_eq!(read(dir.path()).rows().unwrap().len(), 4);

    // What a process that was killed left: a part of the table is only in the log.
    let copy = tempfile::tempdir().unwrap();
    for file in ["snapshots.db", "snapshots.db-wal"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(read(copy.path()).rows().unwrap().len(), 4);
}

#[test]
fn others_refuse_what_they_do_not_know() {
    let dir = tempfile::tempdir().unwrap();
    drop(Table::open(dir.path()).unwrap());
    let path = dir.path().join("snapshots.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE meta SET schema = 3", []).unwrap();
    let found = SnapshotTable::open(dir.path());
    assert!(matches!(found, Err(SnapshotTableError::Other { found: 3, .. })), "{found:?}");
    file.execute("UPDATE meta SET schema = 2", []).unwrap();
    let row = "INSERT INTO snapshots (space, name, kind, created, updated) VALUES ('a', 'n', 'other', 1, 1)";
    file.execute(row, []).unwrap();
    assert!(matches!(read(dir.path()).rows(), Err(SnapshotTableError::Read { .. })));
    drop(file);
    fs::write(&path, "no table").unwrap();
    assert!(matches!(SnapshotTable::open(dir.path()), Err(SnapshotTableError::Read { .. })));
}

#[test]
fn ten_thousand_rows_are_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    drop(Table::open(dir.path()).unwrap());
    let file = rusqlite::Connection::open(dir.path().join("snapshots.db")).unwrap();
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO snapshots (space, name, kind, created, updated) SELECT 'a', 'n' || i, 'active', 1, 1 FROM n";
    file.execute(rows, []).unwrap();
    let began = Instant::now();
    assert_eq!(read(dir.path()).rows().unwrap().len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
