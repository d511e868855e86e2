//! The crate against a real kernel. `hack/test` runs this binary as root in the lab.
//!
//! Directories: `SHAREDROOT_TEST_DIR`, by default `/var/lib/sharedroot-test`, on a file system that can punch holes.
//!
//! Guest: --no-docker

mod lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use lab::{Place, base, byte, fill, line, loop_of, name, run};
use nix::errno::Errno;
use sharedroot_dm::{Backing, Bytes, Deleted, Error, Phase, Pool, PoolMode, Reconcile};

#[test]
fn root_a_pool_is_made_found_stopped_and_destroyed() {
    let place = Place::new("life");
    assert!(!Pool::exists(&place.config).expect("asked"));
    assert!(!place.config.state_dir.exists(), "asking makes nothing");

    let pool = Pool::create(&place.config).expect("a pool");
    assert!(Pool::exists(&place.config).expect("asked"));
    assert!(matches!(Pool::create(&place.config), Err(Error::PoolExists { .. })));
    base(&pool, "base", b'a');
    let status = pool.status().expect("a status");
    assert_eq!(
        (status.mode, status.needs_check, status.volumes, status.on_loop),
        (PoolMode::ReadWrite, false, 1, true)
    );
    assert_eq!(status.data.expect("figures").total, Bytes::mib(128).0 / Bytes::kib(64).0);
    assert_eq!(status.data.expect("figures").used, 16, "one MiB was written");
    assert_eq!(fs::metadata(place.data()).expect("a file").len(), Bytes::mib(128).0);

    pool.activate(&name("base")).expect("active");
    pool.shut_down().expect("stopped");
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    assert_eq!(loop_of(&place.data()), None);

    let pool = Pool::open(&place.config).expect("found again");
    let device = pool.activate(&name("base")).expect("active").device;
    assert_eq!(byte(&device, Bytes::kib(900)), b'a', "what was written outlives the pool's device");
    pool.destroy().expect("destroyed");
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    assert!(!place.data().exists() && !place.metadata().exists());
    assert!(!Pool::exists(&place.config).expect("asked"));
}

#[test]
fn root_a_known_pool_is_taken_into_use_and_one_that_is_gone_is_not() {
    let place = Place::new("known");
    assert!(Pool::known(&place.config).expect("asked").is_none());
    Pool::open(&place.config).expect("a pool").shut_down().expect("stopped");
    let known = || Pool::known(&place.config).expect("asked").expect("known");
    let (pool, other) = (known(), known());
    assert!(!pool.is_active().expect("asked"), "to know a pool activates nothing");
    pool.begin_use().expect("in use");
    assert!(pool.is_active().expect("asked"));
    base(&pool, "base", b'a');
    pool.begin_use().expect("in use already");
    assert!(pool.ready(&name("base")).expect("asked").is_some_and(|volume| volume.is_ready()));
    assert!(pool.ready(&name("nobody")).expect("asked").is_none());
    pool.shut_down().expect("stopped");
    let reconciled = known();
    reconciled.begin_to_reconcile().expect("in use");
    assert!(reconciled.reconcile(Reconcile::DryRun).expect("compared").is_clean());
    reconciled.destroy().expect("destroyed");
    // Nor is a new pool of that name the one that was known.
    let _new = Pool::open(&place.config).expect("a pool");
    assert!(matches!(other.begin_use(), Err(Error::NoPool { .. })));
}

#[test]
fn root_a_loop_device_left_attached_is_found() {
    let place = Place::new("attached");
    Pool::create(&place.config).expect("a pool").shut_down().expect("stopped");
    let data = place.data().into_os_string().into_string().expect("text");
    let node = run("losetup", &["--find", "--show", &data]);
    Pool::open(&place.config).expect("found again");
    let nodes = run("losetup", &["--noheadings", "--output", "NAME", "--associated", &data]);
    assert_eq!(nodes.trim(), node.trim(), "one file, one loop device");
}

#[test]
fn root_many_first_users_at_once() {
    let place = Place::new("first");
    let mut children: Vec<_> = (0..4).map(|_| place.child("open")).collect();
    let ids: BTreeSet<_> = children.iter_mut().map(line).collect();
    assert_eq!(ids.len(), 4, "four volumes of four processes: {ids:?}");
    for mut child in children {
        drop(child.stdin.take());
        assert!(child.wait().expect("ended").success());
    }
    assert_eq!(place.dm_devices().len(), 5, "one pool, four volumes");
    assert_eq!(place.thin_ids().len(), 4);
}

#[test]
fn root_a_base_is_read_only_and_its_snapshots_differ() {
    let place = Place::new("snap");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let active = pool.activate(&name("base")).expect("active");
    assert_eq!(pool.activate(&name("base")).expect("active twice"), active);
    let refused =
        fill(&active.device, Bytes(0), Bytes::kib(64), b'x').expect_err("a base takes no write");
    let refused = Errno::from_raw(refused.raw_os_error().expect("an errno"));
    assert!(matches!(refused, Errno::EPERM | Errno::EROFS | Errno::EACCES), "{refused}");
    // A privileged container could try this.
    let node = active.device.to_str().expect("text").to_owned();
    let _ = std::process::Command::new("blockdev").args(["--setrw", &node]).output();
    assert!(fill(&active.device, Bytes(0), Bytes::kib(64), b'x').is_err(), "setrw does not help");

    let one = pool
        .snapshot(&name("base"), &name("one"))
        .expect("a snapshot")
        .keep()
        .expect("kept")
        .device;
    let two = pool
        .snapshot(&name("base"), &name("two"))
        .expect("a snapshot")
        .keep()
        .expect("kept")
        .device;
    assert_eq!((byte(&one, Bytes::kib(70)), byte(&two, Bytes::kib(70))), (b'a', b'a'));
    fill(&one, Bytes(0), Bytes::kib(128), b'1').expect("written");
    fill(&two, Bytes(0), Bytes::kib(128), b'2').expect("written");
    let seen = [&active.device, &one, &two].map(|device| byte(device, Bytes::kib(70)));
    assert_eq!(seen, [b'a', b'1', b'2']);
    assert_eq!(byte(&one, Bytes::kib(512)), b'a', "what was not written is the base's");

    let volume = pool.volume(&name("one")).expect("asked").expect("there");
    assert_eq!(
        (volume.origin, volume.phase, volume.sealed, volume.active),
        (Some(name("base")), Phase::Ready, false, true)
    );
    assert!(matches!(pool.snapshot(&name("base"), &name("one")), Err(Error::Exists { .. })));
    assert!(matches!(pool.snapshot(&name("nobody"), &name("x")), Err(Error::NoVolume { .. })));

    assert_eq!(pool.delete(&name("base")).expect("deleted"), Deleted::Deleted);
    assert_eq!(byte(&one, Bytes::kib(512)), b'a', "a snapshot outlives its origin");
}

#[test]
fn root_an_active_origin_is_held_still() {
    let place = Place::new("still");
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("origin"), Bytes::mib(16)).expect("a volume");
    let origin = new.keep().expect("kept").device;
    fill(&origin, Bytes(0), Bytes::mib(1), b'o').expect("written");
    // The data is still in the page cache, and the device stays open. So only the suspend writes it to the pool before the
    // snapshot.
    let mut late = File::options().write(true).open(&origin).expect("open");
    late.write_all(&[b'l'; 4096]).expect("written");
    let new = pool.snapshot(&name("origin"), &name("snap")).expect("a snapshot");
    let snapshot = new.keep().expect("kept").device;
    assert_eq!(byte(&snapshot, Bytes(100)), b'l');
    fill(&origin, Bytes(0), Bytes::mib(1), b'n').expect("the origin goes on");
    assert_eq!(byte(&snapshot, Bytes::kib(500)), b'o');
}

#[test]
fn root_deleting_gives_everything_back() {
    let place = Place::new("delete");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let before = pool.status().expect("a status");
    for round in 0..3 {
        let snapshot =
            pool.snapshot(&name("base"), &name("snap")).expect("a snapshot").keep().expect("kept");
        let id = pool.volume(&name("snap")).expect("asked").expect("there").id;
        assert_eq!(id.get(), 1, "round {round}: the thin id is used again");
        fill(&snapshot.device, Bytes(0), Bytes::mib(4), b's').expect("written");

        let open = File::open(&snapshot.device).expect("open");
        let busy = pool.delete(&name("snap")).expect_err("it is open");
        assert!(matches!(busy, Error::Busy { .. }), "{busy}");
        assert!(pool.deactivate(&name("snap")).is_err());
        drop(open);
        assert_eq!(pool.delete(&name("snap")).expect("deleted"), Deleted::Deleted);
        assert_eq!(pool.delete(&name("snap")).expect("asked"), Deleted::NotThere);
    }
    let after = pool.status().expect("a status");
    assert_eq!(after.data, before.data, "no data block is lost");
    assert_eq!(place.thin_ids(), BTreeSet::from([0]));
    pool.deactivate(&name("base")).expect("it is not active");
}

#[test]
fn root_a_dropped_volume_leaves_nothing() {
    let place = Place::new("drop");
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("new"), Bytes::mib(16)).expect("a volume");
    fill(new.device(), Bytes(0), Bytes::mib(1), b'x').expect("written");
    assert!(
        matches!(pool.activate(&name("new")), Err(Error::VolumeLocked { .. })),
        "not before it is complete"
    );
    drop(new);
    assert_eq!(pool.volumes().expect("a list"), []);
    assert_eq!(place.dm_devices(), [place.device()]);
    assert_eq!(place.thin_ids(), BTreeSet::new());
    assert_eq!(pool.status().expect("a status").data.expect("figures").used, 0);
    let files = fs::read_dir(&place.config.run_dir).expect("a directory");
    let files: BTreeSet<_> = files.map(|file| file.expect("a file").file_name()).collect();
    let locks = ["pool-drop.lock", "store.lock", "volumes.lock"].map(Into::into);
    assert_eq!(files, BTreeSet::from(locks), "one file for the locks of all volumes");
}

#[test]
fn root_a_killed_maker_is_undone_and_a_living_one_left_alone() {
    let place = Place::new("killed");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    for again in ["reconcile", "make"] {
        let mut child = place.child("make");
        line(&mut child);
        let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
        assert_eq!(report.in_work, [name("half")], "its maker lives: {report}");
        let taken =
            pool.create_volume(&name("half"), Bytes::mib(16)).expect_err("somebody makes it");
        assert!(matches!(taken, Error::VolumeLocked { .. }), "{taken}");
        child.kill().expect("killed");
        child.wait().expect("dead");

        let report = pool.reconcile(Reconcile::DryRun).expect("a dry run");
        assert_eq!(report.undone, [name("half")]);
        assert_eq!(place.thin_ids().len(), 2, "a dry run changes nothing");
        match again {
            "reconcile" => {
                let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
                assert!(report.failed.is_empty() && report.undone == [name("half")], "{report}");
            }
            _ => drop(
                pool.create_volume(&name("half"), Bytes::mib(16)).expect("the name is free again"),
            ),
        }
        assert_eq!(place.thin_ids(), BTreeSet::from([0]));
        assert_eq!(place.dm_devices(), [place.device()]);
    }
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
}

#[test]
fn root_kills_at_any_moment_leak_nothing() {
    let place = Place::new("kills");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let mut caught = 0;
    for round in 0.. {
        let mut child = place.child("churn");
        line(&mut child);
        std::thread::sleep(Duration::from_micros(7300 * (round % 60)));
        assert!(
            child.try_wait().expect("asked").is_none(),
            "round {round}: the child ended by itself"
        );
        child.kill().expect("killed");
        child.wait().expect("dead");
        caught += u32::from(!pool.reconcile(Reconcile::DryRun).expect("a dry run").is_clean());
        let pool = Pool::open(&place.config).expect("opened after a kill");
        let rows: BTreeSet<u32> =
            pool.volumes().expect("a list").iter().map(|volume| volume.id.get()).collect();
        assert!(
            pool.volumes().expect("a list").iter().all(|volume| volume.phase == Phase::Ready),
            "round {round}"
        );
        assert_eq!(place.thin_ids(), rows, "round {round}: the pool holds what the store knows");
        let active = pool.volumes().expect("a list").iter().filter(|volume| volume.active).count();
        assert_eq!(place.dm_devices().len(), active + 1, "round {round}: no stray device");
        assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean(), "round {round}");
        // A busy machine needs more rounds until enough changes were interrupted.
        if caught >= 12 {
            println!("{caught} of {} kills came in the middle of a change", round + 1);
            break;
        }
        assert!(
            round < 90,
            "{caught} of {round} kills came in the middle of a change, too few to prove anything"
        );
    }
    let base = pool.activate(&name("base")).expect("active").device;
    assert_eq!(byte(&base, Bytes::kib(1000)), b'a');
}

#[test]
fn root_a_failed_creation_leaves_nothing() {
    let mut place = Place::new("failed");
    place.config.backing = Backing::Loop { data: Bytes::mib(64), metadata: Bytes::kib(16) };
    let error = Pool::create(&place.config).expect_err("16 KiB are too little metadata");
    assert!(matches!(error, Error::ActivatePool { .. }), "{error}");
    assert!(!place.data().exists() && !place.metadata().exists());
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    assert!(!Pool::exists(&place.config).expect("asked"));
    place.config.backing = Backing::Loop { data: Bytes::mib(64), metadata: Bytes::mib(8) };
    Pool::create(&place.config).expect("the way is free");
}

/// The processes that the tests above start.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let (config, act) = Place::of_child();
    let pool = Pool::open(&config).expect("the pool");
    let me = std::process::id();
    match act.as_str() {
        "open" => {
            let volume = name(&format!("of-{me}"));
            pool.create_volume(&volume, Bytes::mib(1)).expect("a volume").keep().expect("kept");
            println!("child: {}", pool.volume(&volume).expect("asked").expect("there").id);
            std::io::stdin().read_line(&mut String::new()).expect("the parent's word");
        }
        "make" => {
            let new = pool.create_volume(&name("half"), Bytes::mib(16)).expect("a volume");
            fill(new.device(), Bytes(0), Bytes::mib(1), b'h').expect("written");
            println!("child: made");
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        "churn" => {
            println!("child: ready");
            loop {
                let volume = name("churn");
                pool.delete(&volume).expect("deleted");
                pool.delete(&name("fresh")).expect("deleted");
                let new = pool.snapshot(&name("base"), &volume).expect("a snapshot");
                new.keep().expect("kept");
                pool.deactivate(&volume).expect("deactivated");
                let new = pool.create_volume(&name("fresh"), Bytes::mib(16)).expect("a volume");
                new.seal().expect("sealed");
                pool.delete(&name("fresh")).expect("deleted");
            }
        }
        other => panic!("no act {other}"),
    }
}
