//! Store, pool and kernel that differ, and are made to agree again, against a real kernel. `hack/test` runs this as root in the
//! lab.
//!
//! Guest: --no-docker

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use lab::{Place, base, name, run};
use rusqlite::Connection;
use sharedroot_dm::{Bytes, Error, Pool, Reconcile, Remedy, ThinId, Volume};

fn store(place: &Place) -> Connection {
    Connection::open(place.config.state_dir.join("store.db")).expect("the store")
}

fn message(place: &Place, text: &str) {
    run("dmsetup", &["message", &place.device(), "0", text]);
}

/// Everything that a reconcile may change.
type Everything = (Vec<Volume>, Option<u64>, i64, BTreeSet<u32>, BTreeSet<String>);

fn everything(place: &Place, pool: &Pool) -> Everything {
    let transaction = store(place)
        .query_row("SELECT transaction_id FROM pools", [], |row| row.get(0))
        .expect("a transaction id");
    (
        pool.volumes().expect("a list"),
        pool.status().expect("a status").transaction_id,
        transaction,
        place.thin_ids(),
        place.dm_devices().into_iter().collect(),
    )
}

fn ids(ids: &[u32]) -> Vec<ThinId> {
    ids.iter().map(|id| ThinId::new(*id).expect("24 bits")).collect()
}

#[test]
fn root_ids_and_devices_that_nobody_owns_are_deleted() {
    let place = Place::new("strays");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    pool.activate(&name("base")).expect("active");
    let device = format!("{}-base", place.device());
    let uuid = run("dmsetup", &["info", "-c", "--noheadings", "-o", "uuid", &device]);
    let ours = uuid.trim().strip_suffix('0').expect("the thin id of the base");
    // A device of a pool of the same name in another store.
    let foreign = format!("{}-foreign", place.device());
    let uuid = format!("SHAREDROOT-{}-00000000-77", place.config.name);
    run("dmsetup", &["create", &foreign, "--uuid", &uuid, "--table", "0 2048 error"]);
    let clean = everything(&place, &pool);
    message(&place, "create_thin 77");
    message(&place, "create_snap 5 0");
    let stray = format!("{}-stray", place.device());
    let minor = run("dmsetup", &["info", "-c", "--noheadings", "-o", "minor", &place.device()]);
    let table = format!("0 2048 thin /dev/dm-{} 77", minor.trim());
    run("dmsetup", &["create", &stray, "--uuid", &format!("{ours}77"), "--table", &table]);

    let before = everything(&place, &pool);
    let report = pool.reconcile(Reconcile::DryRun).expect("a dry run");
    assert_eq!((&report.stray_ids, &report.stray_devices), (&ids(&[5, 77]), &vec![stray.clone()]));
    assert!(report.to_string().ends_with("nothing was changed"), "{report}");
    assert_eq!(everything(&place, &pool), before, "a dry run changes nothing");

    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    assert!(report.failed.is_empty(), "{report}");
    assert_eq!((report.stray_ids, report.stray_devices), (ids(&[5, 77]), vec![stray]));
    let unchanged = || {
        let (volumes, _, _, ids, devices) = everything(&place, &pool);
        assert_eq!((&volumes, &ids, &devices), (&clean.0, &clean.3, &clean.4));
    };
    unchanged();
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());

    let taken = pool.create_volume(&name("foreign"), Bytes::mib(16)).expect_err("a foreign device");
    assert!(matches!(taken, Error::WrongDevice { .. }), "{taken}");
    unchanged();
}

#[test]
fn root_a_volume_that_the_pool_has_lost_is_named_and_forgotten_by_force_only() {
    let place = Place::new("lost");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "kept", b'a');
    base(&pool, "lost", b'b');
    message(&place, "delete 1");
    let new = || pool.snapshot(&name("lost"), &name("new")).map(drop);
    for used in [pool.activate(&name("lost")).map(drop), new()] {
        let error = used.expect_err("it is lost");
        assert!(matches!(&error, Error::LostVolume { volume, .. } if *volume == name("lost")));
        assert_eq!(error.remedy(), Some(Remedy::CompareThenForce));
    }
    let before = everything(&place, &pool);
    for report in [
        pool.reconcile(Reconcile::DryRun),
        pool.reconcile_by_force(Reconcile::DryRun),
        pool.reconcile(Reconcile::Apply),
    ] {
        let report = report.expect("a report");
        assert!(!report.is_clean() && report.lost == [name("lost")], "{report}");
        assert!(report.to_string().contains("volume lost is no longer in the pool"), "{report}");
        assert_eq!(everything(&place, &pool), before);
    }
    let report = pool.reconcile_by_force(Reconcile::Apply).expect("reconciled");
    assert!(report.lost == [name("lost")] && report.failed.is_empty(), "{report}");
    let left: Vec<_> = pool.volumes().expect("a list").into_iter().map(|v| v.name).collect();
    assert_eq!(left, [name("kept")]);
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
    base(&pool, "lost", b'c');
}

#[test]
fn root_an_old_store_deletes_nothing() {
    let place = Place::new("old");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    pool.create_volume(&name("doomed"), Bytes::mib(16)).expect("a volume").keep().expect("kept");
    let backup = place.config.state_dir.join("backup.db");
    let to = backup.to_str().expect("text").to_owned();
    store(&place).execute("VACUUM INTO ?1", [to]).expect("a backup");
    pool.delete(&name("doomed")).expect("deleted");
    for volume in ["later", "latest"] {
        let new = pool.snapshot(&name("base"), &name(volume)).expect("a snapshot");
        new.keep().expect("kept");
        pool.deactivate(&name(volume)).expect("inactive");
    }
    drop(pool);
    for old in ["store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(place.config.state_dir.join(old));
    }
    fs::rename(&backup, place.config.state_dir.join("store.db")).expect("the old store is back");

    let pool = Pool::open(&place.config).expect("a pool");
    let error = pool.snapshot(&name("base"), &name("x")).expect_err("it is another pool");
    assert!(matches!(error, Error::Transaction { .. }), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::CompareThenForce));
    let before = everything(&place, &pool);
    assert_eq!(before.3, BTreeSet::from([0, 1, 2]));
    for report in [
        pool.reconcile(Reconcile::DryRun),
        pool.reconcile(Reconcile::Apply),
        pool.reconcile_by_force(Reconcile::DryRun),
    ] {
        let report = report.expect("a report");
        assert!(report.transaction.is_some() && !report.is_clean(), "{report}");
        // The row of `doomed` has the thin id that another transaction gave to `later`.
        let lost = vec![name("doomed")];
        assert_eq!((&report.stray_ids, &report.lost), (&ids(&[1, 2]), &lost), "{report}");
        assert_eq!(everything(&place, &pool), before);
    }
    let report = pool.reconcile(Reconcile::Apply).expect("a report");
    assert!(report.untouched && report.to_string().ends_with("nothing was changed"), "{report}");

    let report = pool.reconcile_by_force(Reconcile::Apply).expect("reconciled");
    assert!(report.failed.is_empty() && !report.untouched, "{report}");
    assert_eq!(place.thin_ids(), BTreeSet::from([0]));
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
    pool.snapshot(&name("base"), &name("x")).expect("a snapshot").keep().expect("kept");
}

#[test]
fn root_a_metadata_snapshot_of_a_dead_process_is_released() {
    let place = Place::new("held");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    message(&place, "reserve_metadata_snap");
    message(&place, "create_thin 9");
    let held = || {
        let line = run("dmsetup", &["status", &place.device()]);
        line.split_whitespace().nth(6) != Some("-")
    };
    assert!(held());
    let report = pool.reconcile(Reconcile::DryRun).expect("a dry run");
    assert!(matches!(report.failed[..], [(_, Error::SnapshotReserved { .. })]), "{report}");
    assert!(held(), "a dry run changes nothing");
    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    assert_eq!(report.stray_ids, ids(&[9]), "not what the old metadata snapshot shows: {report}");
    assert!(!held() && report.failed.is_empty(), "{report}");
}

#[test]
fn root_a_thousand_live_volumes_are_reconciled() {
    let place = Place::new("many");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let mut took = Vec::new();
    for number in 0..1000 {
        let start = Instant::now();
        let new = pool.snapshot(&name("base"), &name(&format!("v{number}"))).expect("a snapshot");
        new.keep().expect("kept");
        took.push(start.elapsed());
    }
    message(&place, "create_thin 5000");
    for stray in [Some(5000), None] {
        let start = Instant::now();
        let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
        println!("reconcile with 1000 live volumes: {:?}", start.elapsed());
        let found: Vec<_> = report.stray_ids.iter().map(|id| id.get()).collect();
        assert_eq!(found, Vec::from_iter(stray), "{report}");
        assert_eq!(report.is_clean(), stray.is_none(), "{report}");
    }
    let start = Instant::now();
    drop(Pool::open(&place.config).expect("opened"));
    println!("open with 1000 live volumes: {:?}", start.elapsed());
    let median = |part: &mut [std::time::Duration]| {
        part.sort();
        part[part.len() / 2]
    };
    let (first, last) = took.split_at_mut(100);
    let last = median(&mut last[800..]);
    println!(
        "snapshot and activate: {:?} of the first hundred, {last:?} of the last",
        median(first)
    );
    assert_eq!(place.thin_ids().len(), 1001);
}
