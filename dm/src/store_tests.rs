use super::*;
use crate::lock::own_dir;
use crate::media::{Kind, Media, Sizes};
use crate::pool_row::{PoolPhase, PoolRow};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;

fn dir(name: &str) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("sharedroot-dm-store-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    own_dir(&dir).expect("a directory");
    dir
}

fn pool_row() -> PoolRow {
    let media =
        Media { kind: Kind::Loop, data: "/x/p.data".into(), metadata: "/x/p.metadata".into() };
    let sizes = Sizes { data: Bytes::gib(32), metadata: Bytes::mib(256) };
    let (phase, uuid, block) = (PoolPhase::Growing, "SHAREDROOT-p-pool-1".into(), Bytes::kib(64));
    PoolRow { phase, uuid, media, block, sizes, transaction_id: 3, clean: true }
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
    }
}

#[test]
fn rows_come_back_as_they_went_in() {
    let dir = dir("rows");
    let (pool, row) = ("p".parse().expect("a name"), pool_row());
    let snapshot = VolumeRow { origin: Some("base".parse().expect("a name")), ..volume("snap", 1) };
    {
        let store = Store::open(&dir, &dir).expect("a store");
        store
            .write(|w| {
                w.put_pool(&pool, &row)?;
                w.put_volume(&pool, &volume("base", 0))?;
                w.set_phase(&pool, &volume("base", 0).name, Phase::Ready, true)?;
                w.put_volume(&pool, &snapshot)
            })
            .expect("written");
    }
    let store = Store::open(&dir, &dir).expect("the store again");
    assert_eq!(store.pool(&pool).expect("read"), Some(row));
    let base = VolumeRow { phase: Phase::Ready, sealed: true, ..volume("base", 0) };
    assert_eq!(store.volumes(&pool).expect("read"), [base, snapshot.clone()]);
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
fn eight_first_openers_at_once() {
    let dir = dir("first");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(&dir, &dir).expect("a store"));
        }
    });
    fs::remove_dir_all(dir).expect("removed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_lowest_id_that_nobody_has(ids in proptest::collection::btree_set(0u32..24, 0..24)) {
        let dir = dir("ids");
        let pool = "p".parse().expect("a name");
        let store = Store::open(&dir, &dir).expect("a store");
        let free = store.write(|w| {
            w.put_pool(&pool, &pool_row())?;
            for id in &ids {
                w.put_volume(&pool, &volume(&format!("v{id}"), *id))?;
            }
            w.free_id(&pool)
        }).expect("written");
        let ids: BTreeSet<u32> = ids;
        let lowest = (0..).find(|id| !ids.contains(id)).expect("one is free");
        prop_assert_eq!(free.map(ThinId::get), Some(lowest));
        fs::remove_dir_all(dir).expect("removed");
    }
}
