use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use rusqlite::Connection;
use sharedroot_format::{PoolName, VolumeName};

use super::schema::{SCHEMA, STEPS};
use super::volume_row::{HIGHEST_ID, IDS, UNFINISHED};
use super::*;
use crate::backing::{BackingKind, PoolBacking, Sizes};
use crate::error::Error;
use crate::lock::private_dir;
use crate::names::ThinId;
use crate::units::Bytes;

fn dir(name: &str) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("sharedroot-dm-store-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    private_dir(&dir).expect("a directory");
    dir
}

fn pool_row() -> PoolRow {
    let backing = PoolBacking {
        kind: BackingKind::Loop,
        data: "/x/p.data".into(),
        metadata: "/x/p.metadata".into(),
    };
    let sizes = Sizes { data: Bytes::gib(32), metadata: Bytes::mib(256) };
    let (phase, uuid, block) = (PoolPhase::Growing, "SHAREDROOT-p-pool-1".into(), Bytes::kib(64));
    PoolRow { phase, uuid, backing, block, sizes, transaction_id: 3, clean: true }
}

fn volume(name: &str, id: u32) -> VolumeRow {
    let id = ThinId::new(id).expect("24 bits");
    VolumeRow {
        name: name.parse().expect("a name"),
        id,
        size: Bytes::gib(10),
        origin: None,
        phase: Phase::Creating,
        sealed: false,
        made: u64::from(id.get()) + 7,
        was: None,
    }
}

#[test]
fn rows_come_back_as_they_went_in() {
    let dir = dir("rows");
    let (pool, row) = ("p".parse().expect("a name"), pool_row());
    let [origin, was] = ["base", "was"].map(|name| Some(name.parse().expect("a name")));
    let snapshot = VolumeRow { origin, was, ..volume("snap", 1) };
    {
        let store = Store::open(&dir, &dir).expect("a store");
        store
            .write(|w| {
                w.put_pool(&pool, &row)?;
                w.put_volume(&pool, &volume("base", 0))?;
                w.set_sealed(&pool, &volume("base", 0).name)?;
                w.set_phase(&pool, &volume("base", 0).name, Phase::Ready)?;
                w.put_volume(&pool, &snapshot)
            })
            .expect("written");
        let gone = store.write(|w| w.set_phase(&pool, &volume("no", 9).name, Phase::Ready));
        assert!(matches!(gone, Err(Error::NoVolume { .. })), "{gone:?}");
    }
    let store = Store::open(&dir, &dir).expect("the store again");
    assert_eq!(store.pool(&pool).expect("read"), Some(row));
    let base = VolumeRow { phase: Phase::Ready, sealed: true, ..volume("base", 0) };
    assert_eq!(store.volumes(&pool).expect("read"), [base, snapshot.clone()]);
    let of = |uuid| store.volume(&pool, uuid, &snapshot.name).expect("read");
    assert_eq!(of("SHAREDROOT-p-pool-1"), Some(snapshot.clone()));
    assert_eq!(of("SHAREDROOT-p-pool-2"), None, "another pool under the same name");
    assert_eq!(store.unfinished(&pool).expect("read"), [snapshot]);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_failed_change_leaves_nothing() {
    let dir = dir("rollback");
    let pool = "p".parse().expect("a name");
    let store = Store::open(&dir, &dir).expect("a store");
    store.write(|w| w.put_pool(&pool, &pool_row())).expect("written");
    store.write(|w| w.put_volume(&pool, &volume("a", 5))).expect("written");
    let twice = store.write(|w| {
        w.put_volume(&pool, &volume("b", 6))?;
        w.put_volume(&pool, &volume("c", 5))
    });
    assert!(matches!(twice, Err(Error::Store { .. })), "one thin id, two owners: {twice:?}");
    assert_eq!(store.volumes(&pool).expect("read").len(), 1);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_late_write_is_seen_at_once_and_the_next_is_on_the_disk() {
    let dir = dir("late");
    let pool = "p".parse().expect("a name");
    let store = Store::open(&dir, &dir).expect("a store");
    store.write(|w| w.put_pool(&pool, &pool_row())).expect("written");
    store.write_late(|w| w.put_volume(&pool, &volume("a", 5))).expect("written");
    let other = Store::open(&dir, &dir).expect("the store again");
    assert_eq!(other.volumes(&pool).expect("read").len(), 1);
    let level = || store.lock().query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0));
    assert_eq!(level(), Ok(2), "FULL");
    let taken = store.write_late(|w| w.put_volume(&pool, &volume("b", 5)));
    assert!(matches!(taken, Err(Error::Store { .. })), "{taken:?}");
    assert_eq!(level(), Ok(2), "FULL, whatever came of it");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_newer_store_is_refused() {
    let dir = dir("newer");
    drop(Store::open(&dir, &dir).expect("a store"));
    let path = Store::file(&dir);
    let raw = Connection::open(&path).expect("SQLite");
    raw.execute("UPDATE meta SET value = 99 WHERE key = 'schema'", []).expect("changed");
    drop(raw);
    let error = Store::open(&dir, &dir).expect_err("a newer store");
    assert!(matches!(error, Error::NewerStore { found: 99, known: SCHEMA, .. }), "{error}");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_store_of_schema_1_is_brought_up() {
    let dir = dir("schema1");
    let raw = Connection::open(Store::file(&dir)).expect("SQLite");
    let rows = "
        CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
        INSERT INTO meta VALUES ('schema', 1);
        INSERT INTO pools VALUES ('a', 'ready', 1, x'2f61', x'2f62', 65536, 7), ('b', 'creating', 0, x'2f63', x'2f64', 131072, 0);
        INSERT INTO volumes VALUES ('a', 'base', 3, 4096, NULL, 'ready', 1);";
    raw.execute_batch(STEPS[0]).and_then(|()| raw.execute_batch(rows)).expect("an old store");
    drop(raw);
    for _ in 0..2 {
        let store = Store::open(&dir, &dir).expect("the store");
        let a = store.pool(&"a".parse().expect("a name")).expect("read").expect("a pool");
        let backing =
            PoolBacking { kind: BackingKind::Loop, data: "/a".into(), metadata: "/b".into() };
        let (uuid, block) = ("SHAREDROOT-a-pool".to_owned(), Bytes::kib(64));
        let (phase, sizes) = (PoolPhase::Ready, Sizes::default());
        assert_eq!(
            a,
            PoolRow { phase, uuid, backing, block, sizes, transaction_id: 7, clean: false }
        );
        let b = store.pool(&"b".parse().expect("a name")).expect("read").expect("a pool");
        assert_eq!((b.phase, b.backing.kind), (PoolPhase::Creating, BackingKind::Devices));
        let volumes = store.volumes(&"a".parse().expect("a name")).expect("read");
        assert_eq!((volumes.len(), volumes[0].made), (1, 0));
    }
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn eight_first_openers_at_once() {
    let dir = dir("first");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(&dir, &dir).expect("a store"));
        }
    });
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_queries_of_every_creation_use_an_index() {
    let dir = dir("plan");
    drop(Store::open(&dir, &dir).expect("a store"));
    let raw = Connection::open(Store::file(&dir)).expect("SQLite");
    for (query, plan) in [
        (HIGHEST_ID, "SEARCH volumes USING COVERING INDEX sqlite_autoindex_volumes_2 (pool=?)"),
        (IDS, "SEARCH volumes USING COVERING INDEX sqlite_autoindex_volumes_2 (pool=?)"),
        (UNFINISHED, "SEARCH volumes USING INDEX unfinished (pool=?)"),
    ] {
        let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {query}")).expect("a query");
        let steps = statement.query_map(["p"], |row| row.get::<_, String>("detail"));
        let steps: Vec<_> = steps.expect("a plan").map(|step| step.expect("text")).collect();
        assert_eq!(steps[0], plan, "{query}");
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        // There are few unfinished rows, so sorting them is cheap.
        assert_eq!(sorts, query == UNFINISHED, "{query}: {steps:?}");
    }
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn an_id_comes_back_only_when_all_were_used() {
    let dir = dir("ids");
    let pool = "p".parse().expect("a name");
    let store = Store::open(&dir, &dir).expect("a store");
    let last = ThinId::new(5).expect("24 bits");
    store.write(|w| w.put_pool(&pool, &pool_row())).expect("written");
    let next = |used: &[u32]| {
        let given: Result<_, Error> = store.write(|w| {
            for volume in store_names(w, &pool) {
                w.drop_volume(&pool, &volume)?;
            }
            for id in used {
                w.put_volume(&pool, &volume(&format!("v{id}"), *id))?;
            }
            w.next_id(&pool, last)
        });
        given.expect("written").map(ThinId::get)
    };
    assert_eq!(next(&[]), Some(0));
    assert_eq!(next(&[0, 3]), Some(4), "not the gap");
    assert_eq!(next(&[4]), Some(5));
    assert_eq!(next(&[0, 1, 3, 5]), Some(2), "the lowest gap");
    assert_eq!(next(&[1, 2, 5]), Some(0));
    assert_eq!(next(&[0, 1, 2, 3, 4, 5]), None);
    assert_eq!(next(&[0, 1, 2, 3, 5]), Some(4));
    fs::remove_dir_all(dir).expect("removed");
}

fn store_names(w: &Writer<'_>, pool: &PoolName) -> Vec<VolumeName> {
    let mut statement = w.tx.prepare("SELECT name FROM volumes WHERE pool = ?1").expect("a query");
    let names = statement.query_map([pool.as_ref()], |row| row.get::<_, String>(0));
    names.expect("rows").map(|name| name.expect("text").parse().expect("a name")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_id_that_nobody_has(ids in proptest::collection::btree_set(0u32..24, 0..24), last in 0u32..24) {
        let dir = dir("any-ids");
        let pool = "p".parse().expect("a name");
        let store = Store::open(&dir, &dir).expect("a store");
        let ids: BTreeSet<u32> = ids.into_iter().filter(|id| *id <= last).collect();
        let next = store.write(|w| {
            w.put_pool(&pool, &pool_row())?;
            for id in &ids {
                w.put_volume(&pool, &volume(&format!("v{id}"), *id))?;
            }
            w.next_id(&pool, ThinId::new(last).expect("24 bits"))
        }).expect("written");
        match next {
            Some(id) => prop_assert!(!ids.contains(&id.get()) && id.get() <= last),
            None => prop_assert_eq!(ids.len() as u32, last + 1),
        }
        fs::remove_dir_all(dir).expect("removed");
    }
}
