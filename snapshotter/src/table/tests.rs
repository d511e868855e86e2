//! The table without a pool: names, kinds, parents, and the work that changes leave.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::filter::Filters;
use crate::key::{Key, Space};
use crate::labels::Labels;

struct Place {
    _dir: tempfile::TempDir,
    table: Table,
    space: Space,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path()).unwrap();
    Place { table, space: "a".parse().unwrap(), _dir: dir }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn labels(of: &[(&str, &str)]) -> Labels {
    let map: BTreeMap<String, String> =
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    map.try_into().unwrap()
}

impl Place {
    fn create(&self, kind: Kind, name: &str, parent: Option<&str>) -> Result<Row, TableError> {
        let (key, parent, labels) = (key(name), parent.map(key), labels(&[("l", name)]));
        let new = New { space: &self.space, key: &key, parent: parent.as_ref(), labels: &labels };
        self.table.create(kind, new)
    }

    fn commit(&self, from: &str, name: &str, parent: Option<&str>) -> Result<RowId, TableError> {
        let (from, name, parent) = (key(from), key(name), parent.map(key));
        self.table.commit(Commit {
            space: &self.space,
            key: &from,
            name: &name,
            labels: &labels(&[("committed", "yes")]),
            parent: parent.as_ref(),
        })
    }

    /// A committed snapshot.
    fn committed(&self, name: &str, parent: Option<&str>) -> RowId {
        self.create(Kind::Active, "making", parent).unwrap();
        self.commit("making", name, parent).unwrap()
    }

    fn remove(&self, name: &str) -> Result<(), TableError> {
        self.table.remove(&self.space, &key(name))
    }

    fn work(&self) -> Vec<(u64, Work)> {
        self.table.work().unwrap().iter().map(|item| (item.id.get(), item.work)).collect()
    }

    fn names(&self, filters: &[&str]) -> Vec<String> {
        let filters = Filters::parse(filters).unwrap();
        let list = self.table.list(&self.space, &filters).unwrap();
        list.into_iter().map(|info| info.row.name.to_string()).collect()
    }
}

#[test]
fn a_snapshot_goes_from_key_to_name() {
    let place = place();
    let active = place.create(Kind::Active, "key", None).unwrap();
    assert_eq!(
        (active.kind, &active.parent, active.created),
        (Kind::Active, &None, active.updated)
    );
    let id = place.commit("key", "name", None).unwrap();
    assert_eq!(id, active.id, "the volume stays");
    let info = place.table.info(&place.space, &key("name")).unwrap();
    assert_eq!((info.row.id, info.row.kind), (id, Kind::Committed));
    assert_eq!(info.labels, labels(&[("committed", "yes")]), "labels are not inherited");
    assert!(info.row.created > active.created, "the time of the commit");
    assert!(matches!(
        place.table.find(&place.space, &key("key")),
        Err(TableError::NotFound { what: What::Snapshot, .. })
    ));
    assert_eq!(place.work(), [(id.get(), Work::Settle)]);

    let child = place.create(Kind::Active, "key", Some("name")).unwrap();
    assert!(child.id > id, "a child has a larger number");
    assert_eq!(child.parent.unwrap().name, key("name"));
    assert_eq!(place.names(&["parent==name,kind==active"]), ["key"]);
    assert_eq!(place.names(&["labels.committed==yes", "labels.l~=^k"]), ["key", "name"]);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let place = place();
    place.committed("base", None);
    place.create(Kind::Active, "active", Some("base")).unwrap();
    place.create(Kind::View, "view", Some("base")).unwrap();
    let before = (place.names(&[]), place.work());
    for kind in [Kind::Active, Kind::View] {
        for name in ["active", "view", "base"] {
            let error = place.create(kind, name, Some("base")).unwrap_err();
            assert!(matches!(error, TableError::Exists { .. }), "{error}");
        }
        for parent in ["active", "view"] {
            let error = place.create(kind, "new", Some(parent)).unwrap_err();
            assert!(matches!(error, TableError::ParentNotCommitted { .. }), "{error}");
        }
        let error = place.create(kind, "new", Some("nothing")).unwrap_err();
        assert!(matches!(error, TableError::NotFound { what: What::Parent, .. }), "{error}");
    }
    let error = place.remove("base").unwrap_err();
    assert!(matches!(error, TableError::HasChildren { .. }));
    assert!(error.to_string().contains("remove"), "containerd's tests look for the word: {error}");
    assert!(matches!(place.remove("nothing"), Err(TableError::NotFound { .. })));
    for (from, name, parent) in [
        ("view", "x", None),
        ("base", "x", None),
        ("nothing", "x", None),
        ("active", "base", None),
        ("active", "x", Some("view")),
    ] {
        let error = place.commit(from, name, parent).unwrap_err();
        let expected = match (from, name) {
            (_, "base") => matches!(error, TableError::Exists { .. }),
            ("nothing", _) => matches!(error, TableError::NotFound { .. }),
            ("active", _) => matches!(error, TableError::OtherParent { .. }),
            _ => matches!(error, TableError::NotActive { .. }),
        };
        assert!(expected, "{from} as {name}: {error}");
    }
    assert_eq!((place.names(&[]), place.work()), before);
}

#[test]
fn each_space_has_names_of_its_own() {
    let mut place = place();
    place.committed("name", None);
    place.space = "b".parse().unwrap();
    assert_eq!(place.names(&[]), [""; 0]);
    assert!(place.create(Kind::Active, "x", Some("name")).is_err(), "no parent of another space");
    place.committed("name", None);
    place.remove("name").unwrap();
    place.space = "a".parse().unwrap();
    assert_eq!(place.names(&[]), ["name"]);
}

#[test]
fn work_survives_and_later_work_takes_the_place_of_earlier() {
    let place = place();
    let base = place.committed("base", None).get();
    let view = place.create(Kind::View, "view", Some("base")).unwrap();
    assert!(place.table.is_shown(RowId::new(base)).unwrap());
    let settle = place.table.work().unwrap()[0];
    place.remove("view").unwrap();
    assert!(!place.table.is_shown(RowId::new(base)).unwrap());
    // The queue has begun to settle before the view was removed, so its end is not the end of the later work.
    place.table.done(settle).unwrap();
    assert_eq!(place.work(), [(view.id.get(), Work::Delete), (base, Work::Settle)]);
    place.remove("base").unwrap();
    assert_eq!(place.work(), [(view.id.get(), Work::Delete), (base, Work::Delete)]);
    for item in place.table.work().unwrap() {
        place.table.done(item).unwrap();
    }
    assert_eq!(place.work(), []);
    assert!(place.create(Kind::Active, "new", None).unwrap().id > view.id, "no number comes back");
}

#[test]
fn numbers_of_volumes_that_exist_are_not_given_out() {
    let place = place();
    place.table.skip_to(RowId::new(7)).unwrap();
    let first = place.committed("first", None);
    assert_eq!(first.get(), 8, "the table had no row yet");
    place.table.skip_to(RowId::new(5)).unwrap();
    assert_eq!(place.committed("second", None).get(), 9, "no number comes back");
    place.table.skip_to(RowId::new(100)).unwrap();
    assert_eq!(place.committed("third", None).get(), 101);
}

#[test]
fn a_table_is_opened_again_and_that_of_a_later_version_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = Table::open(dir.path()).unwrap();
    let (space, key, labels) = ("a".parse().unwrap(), key("k"), labels(&[("a", "1")]));
    first
        .create(Kind::Active, New { space: &space, key: &key, parent: None, labels: &labels })
        .unwrap();
    let second = Table::open(dir.path()).unwrap();
    assert_eq!(second.tag(), first.tag());
    assert_eq!(second.info(&space, &key).unwrap(), first.info(&space, &key).unwrap());
    drop((first, second));
    let file = rusqlite::Connection::open(dir.path().join("snapshots.db")).unwrap();
    file.execute("UPDATE meta SET schema = 3", []).unwrap();
    assert!(matches!(Table::open(dir.path()), Err(TableError::Newer { found: 3, .. })));
    file.execute("UPDATE meta SET schema = 2", []).unwrap();
    file.execute("UPDATE snapshots SET kind = 'other'", []).unwrap();
    let damaged = Table::open(dir.path()).unwrap();
    assert!(damaged.find(&space, &key).is_err());
}

/// The tables of the first schema, as version 0.1.0 of the table made them.
const FIRST: &str = "
    CREATE TABLE meta (schema INTEGER NOT NULL, tag INTEGER NOT NULL) STRICT;
    CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        parent INTEGER REFERENCES snapshots (id), created INTEGER NOT NULL, updated INTEGER NOT NULL, mapped INTEGER,
        UNIQUE (space, name)
    ) STRICT;
    CREATE TABLE labels (
        snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (snapshot, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE work (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE, what TEXT NOT NULL) STRICT;
    INSERT INTO meta VALUES (1, 77);
    INSERT INTO snapshots (space, name, kind, created, updated) VALUES ('a', 'old', 'committed', 1, 1);
";

#[test]
fn a_table_of_the_first_schema_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(dir.path().join("snapshots.db")).unwrap();
    file.execute_batch(FIRST).unwrap();
    drop(file);
    for _ in 0..2 {
        let table = Table::open(dir.path()).unwrap();
        assert_eq!(table.tag().to_string(), "0000004d");
        let old = table.find(&"a".parse().unwrap(), &key("old")).unwrap();
        assert_eq!((old.kind, old.shows), (Kind::Committed, None));
    }
}

#[test]
fn a_snapshot_can_show_another_ones_volume() {
    let place = place();
    let base = place.committed("base", None);
    let init = place.table.ensure_init_of(base).unwrap();
    assert_eq!(place.table.ensure_init_of(base).unwrap(), init, "made once");
    assert_eq!(place.table.init_of(base).unwrap().as_ref(), Some(&init));
    assert_eq!(place.names(&[]), ["base"], "no client sees it");
    assert!(place.table.ids().unwrap().contains(&init.id), "its volume is not forgotten");
    let active = place.create(Kind::Active, "key", Some("base")).unwrap();
    let shown = |id: RowId| place.table.is_shown(id).unwrap();
    assert!(!shown(init.id) && !shown(base));
    place.table.show(active.id, Some(init.id)).unwrap();
    assert!(shown(init.id) && !shown(base));
    // A committed snapshot shows it on; what is made of it is made of that volume.
    place.commit("key", "name", None).unwrap();
    assert!(!shown(init.id));
    let child = place.create(Kind::View, "view", Some("name")).unwrap();
    assert_eq!(
        child.parent.as_ref().map(|parent| (parent.id, parent.volume)),
        Some((active.id, init.id))
    );
    assert!(shown(init.id));
    place.remove("view").unwrap();
    assert!(place.work().contains(&(init.id.get(), Work::Settle)), "{:?}", place.work());
    assert!(place.remove("base").is_err(), "it has a child that clients see");
    place.remove("name").unwrap();
    place.remove("base").unwrap();
    let deleted = place.work().into_iter().filter(|(_, work)| *work == Work::Delete);
    let ids = [child.id, active.id, init.id, base].map(|id| (id.get(), Work::Delete));
    assert_eq!(deleted.collect::<Vec<_>>(), ids);
    assert_eq!(place.table.ids().unwrap().len(), 0);
}

#[test]
fn a_committed_snapshot_keeps_what_it_shows() {
    let place = place();
    let base = place.committed("base", None);
    let other = place.committed("other", Some("base"));
    place.table.show(other, Some(base)).unwrap();
    assert_eq!(place.table.row(other).unwrap().unwrap().shows, None);
}

#[test]
fn labels_are_changed_and_the_time_with_them() {
    let place = place();
    let made = place.create(Kind::Active, "key", None).unwrap();
    let update = |labels: &[(&str, &str)], paths: &[&str]| {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        place.table.update(&place.space, &key("key"), labels, &paths)
    };
    let info = update(&[("m", "1")], &["labels.m"]).unwrap();
    assert_eq!(info.labels, labels(&[("l", "key"), ("m", "1")]));
    assert!(info.row.updated > made.updated && info.row.created == made.created);
    assert_eq!(place.table.info(&place.space, &key("key")).unwrap(), info);
    assert!(update(&[("m", "2")], &["labels.m", "kind"]).is_err());
    assert_eq!(place.table.info(&place.space, &key("key")).unwrap(), info);
}

/// What a client may do.
#[derive(Debug, Clone)]
enum Act {
    Make(bool, u8, Option<u8>),
    Commit(u8, u8),
    Remove(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let name = || 0..6_u8;
    prop_oneof![
        (any::<bool>(), name(), proptest::option::of(name()))
            .prop_map(|(view, key, parent)| Act::Make(view, key, parent)),
        (name(), name()).prop_map(|(key, name)| Act::Commit(key, name)),
        name().prop_map(Act::Remove),
    ]
}

/// The same, with names and parents in memory.
#[derive(Debug, Default)]
struct Model(BTreeMap<u8, (Kind, Option<u8>)>);

impl Model {
    fn act(&mut self, act: &Act) -> bool {
        match *act {
            Act::Make(view, key, parent) => {
                let kind = if view { Kind::View } else { Kind::Active };
                let fits = parent.is_none_or(|parent| self.is(parent, Kind::Committed));
                fits && !self.0.contains_key(&key) && self.0.insert(key, (kind, parent)).is_none()
            }
            Act::Commit(key, name) => {
                if self.0.contains_key(&name) || !self.is(key, Kind::Active) {
                    return false;
                }
                let (_, parent) = self.0.remove(&key).unwrap();
                self.0.insert(name, (Kind::Committed, parent)).is_none()
            }
            Act::Remove(key) => {
                let is_parent = self.0.values().any(|(_, parent)| *parent == Some(key));
                !is_parent && self.0.remove(&key).is_some()
            }
        }
    }

    fn is(&self, key: u8, kind: Kind) -> bool {
        self.0.get(&key).is_some_and(|(is, _)| *is == kind)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_leave_what_the_model_has(acts in proptest::collection::vec(act(), 1..40)) {
        let (place, mut model) = (place(), Model::default());
        let name = |number: u8| format!("n{number}");
        for act in acts {
            let done = match &act {
                Act::Make(view, key, parent) => {
                    let kind = if *view { Kind::View } else { Kind::Active };
                    place.create(kind, &name(*key), parent.map(name).as_deref()).map(drop)
                }
                Act::Commit(key, to) => place.commit(&name(*key), &name(*to), None).map(drop),
                Act::Remove(key) => place.remove(&name(*key)),
            };
            prop_assert_eq!(done.is_ok(), model.act(&act), "{:?}: {:?}", act, done);
            let list = place.table.list(&place.space, &Filters::default()).unwrap();
            let list: Vec<_> = list.into_iter().map(|Info { row, .. }| {
                (row.name.to_string(), row.kind, row.parent.map(|parent| parent.name.to_string()))
            }).collect();
            let wanted: Vec<_> = model.0.iter().map(|(key, (kind, parent))| (name(*key), *kind, parent.map(name))).collect();
            prop_assert_eq!(list, wanted);
        }
    }
}
