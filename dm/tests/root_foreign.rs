//! What is not the pool's: metadata, devices and names of others, against a real kernel. They are refused, and stay as they are.
//! `hack/test` runs this binary as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use devices::{Disk, Part};
use lab::{Place, base, byte, fill, name, run};
use sharedroot_dm::{Backing, Bytes, Error, Pool, PoolConfig, Reconcile, Remedy, TransactionIds};

#[test]
fn root_metadata_that_is_not_the_pools_is_refused_before_the_kernel_sees_it() {
    let (one, two) = (Place::new("one"), Place::new("two"));
    for (place, volumes) in [(&one, 1), (&two, 3)] {
        let pool = Pool::open(&place.config).expect("a pool");
        (0..volumes).for_each(|n| base(&pool, &format!("base{n}"), b'a'));
        pool.shut_down().expect("stopped");
    }
    let own = fs::read(one.metadata()).expect("the metadata");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(one.metadata(), bytes).expect("replaced");
        let error = Pool::open(&one.config).expect_err(what);
        one.nothing_is_active();
        assert!(fs::read(one.metadata()).expect("the metadata") == bytes, "{what}: changed");
        error
    };
    let error = refused(&fs::read(two.metadata()).expect("the metadata"), "another pool's");
    assert!(matches!(error, Error::Transaction { kernel: 3, store: 1, .. }), "{error}");
    let error = refused(&own[..4 << 20], "cut off");
    assert!(matches!(error, Error::Shrunk { .. }), "{error}");
    let error = refused(&own[..100], "cut off in the superblock");
    assert!(matches!(error, Error::NotMetadata { .. }), "{error}");
    let error = refused(&vec![0; 8 << 20], "zeroed");
    assert!(matches!(error, Error::NotMetadata { .. }), "{error}");
    fs::write(one.metadata(), &own).expect("back again");

    let file = File::options().write(true).open(one.data()).expect("the data");
    file.set_len(Bytes::mib(64).0).expect("cut off");
    let error = Pool::open(&one.config).expect_err("the data is cut off");
    assert!(
        matches!(error, Error::Shrunk { recorded, .. } if recorded == Bytes::mib(128)),
        "{error}"
    );
    one.nothing_is_active();
    file.set_len(Bytes::mib(128).0).expect("as it was");
    Pool::open(&one.config).expect("all is well again");
}

#[test]
fn root_swapped_devices_are_refused() {
    let place = Place::new("swapped");
    let [a, b] = ["swap-a", "swap-b"].map(|name| Part::new(name, Bytes::mib(64), Bytes::mib(64)));
    let devices = |data: &Part, metadata: &Part| PoolConfig {
        backing: Backing::Devices { data: data.node(), metadata: metadata.node() },
        ..place.config.clone()
    };
    let error = Pool::create(&devices(&a, &a)).expect_err("one device for both");
    assert!(matches!(error, Error::OneDevice { .. }), "{error}");
    let pool = Pool::create(&devices(&a, &b)).expect("a pool");
    base(&pool, "base", b'a');
    pool.shut_down().expect("stopped");
    // Each name now leads to the other device, as after a boot that found the disks in another order.
    let (a_name, b_name) = (a.node(), b.node());
    let rename = |from: &Path, to: &str| {
        run("dmsetup", &["rename", from.file_name().and_then(|n| n.to_str()).expect("text"), to])
    };
    let text = |path: &Path| path.file_name().and_then(|n| n.to_str()).expect("text").to_owned();
    rename(&a_name, "swapping");
    rename(&b_name, &text(&a_name));
    rename(Path::new("swapping"), &text(&b_name));
    let error = Pool::open(&devices(&a, &b)).expect_err("swapped");
    assert!(matches!(error, Error::NotMetadata { .. }), "{error}");
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    rename(&a_name, "swapping");
    rename(&b_name, &text(&a_name));
    rename(Path::new("swapping"), &text(&b_name));
    let pool = Pool::open(&devices(&a, &b)).expect("in their places again");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    pool.destroy().expect("destroyed");
}

#[test]
fn root_a_device_that_carries_something_is_taken_only_by_force_and_never_in_use() {
    let place = Place::new("force");
    let (data, metadata) =
        (Disk::new("force-d", Bytes::mib(64)), Disk::new("force-m", Bytes::mib(8)));
    let config = PoolConfig {
        backing: Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() },
        ..place.config.clone()
    };
    run("mke2fs", &["-q", "-t", "ext4", data.text()]);
    let error = Pool::create(&config).expect_err("a file system is there");
    assert!(matches!(error, Error::Signature { found: "an ext file system", .. }), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::Overwrite));
    let at = place.config.state_dir.join("mnt");
    fs::create_dir_all(&at).expect("a directory");
    run("mount", &[data.text(), at.to_str().expect("text")]);
    for create in [Pool::create, Pool::create_overwriting] {
        let error = create(&config).expect_err("it is mounted");
        assert!(matches!(error, Error::InUse { .. }), "{error}");
    }
    run("umount", &[at.to_str().expect("text")]);
    // Data without a known magic number is refused, too.
    let last = File::options().write(true).open(&metadata.node).expect("open");
    last.write_all_at(b"bluestore block device", Bytes::mib(8).0 - 4096).expect("written");
    run("wipefs", &["--all", "--quiet", data.text()]);
    File::options()
        .write(true)
        .open(&data.node)
        .and_then(|f| f.write_all_at(&[0; 1 << 20], 0))
        .expect("cleared");
    let error = Pool::create(&config).expect_err("something is there");
    assert!(matches!(error, Error::Signature { found: "something unknown", .. }), "{error}");
    run("mke2fs", &["-q", "-t", "ext4", data.text()]);
    run("e2fsck", &["-fn", data.text()]);
    let pool = Pool::create_overwriting(&config).expect("by force");
    assert!(run("lsblk", &["-no", "FSTYPE", data.text()]).trim().is_empty(), "no trace of ext4");
    pool.destroy().expect("destroyed");
}

#[test]
fn root_a_name_that_another_store_or_program_has_is_refused() {
    let place = Place::new("taken");
    let device = place.device();
    run("dmsetup", &["create", &device, "--uuid", "SOMEBODY-1", "--table", "0 8 zero"]);
    let error = Pool::open(&place.config).expect_err("the name is taken");
    assert!(matches!(error, Error::UnknownPoolDevice { .. }), "{error}");
    assert!(!place.data().exists() && !place.metadata().exists(), "nothing is made");
    run("dmsetup", &["remove", &device]);

    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    pool.activate(&name("base")).expect("active");
    // The store is lost while the pool is active.
    let (state, aside) = (&place.config.state_dir, place.config.state_dir.with_extension("aside"));
    drop(pool);
    fs::create_dir(&aside).expect("a directory");
    let store = ["store.db", "store.db-wal", "store.db-shm"];
    let all = |from: &Path, to: &Path| {
        for file in store {
            let _ = fs::rename(from.join(file), to.join(file));
        }
    };
    all(state, &aside);
    let error = Pool::open(&place.config).expect_err("a pool that no store knows");
    let text = error.to_string();
    assert!(matches!(error, Error::UnknownPoolDevice { volumes: 1, .. }), "{text}");
    assert!(text.contains("1 volumes") && text.contains("restore the store"), "{text}");
    assert_eq!(place.thin_ids().len(), 1, "nothing is adopted and nothing deleted");

    // Another store creates a pool with the same name. That pool is not this one.
    run("dmsetup", &["remove", &format!("{device}-base")]);
    place.reset();
    for file in [place.data(), place.metadata()] {
        fs::rename(&file, aside.join(file.file_name().expect("a name"))).expect("moved");
    }
    for file in store {
        let _ = fs::remove_file(state.join(file));
    }
    drop(Pool::open(&place.config).expect("a new pool of the name"));
    for file in store {
        let _ = fs::remove_file(state.join(file));
    }
    all(&aside, state);
    let error = Pool::open(&place.config).expect_err("the old store, the new pool");
    assert!(matches!(error, Error::ForeignDevice { .. }), "{error}");
}

#[test]
fn root_another_pools_metadata_and_another_writer_are_noticed() {
    let place = Place::new("other");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let at = pool.status().expect("a status").transaction_id.expect("a figure");
    let message = |text: &str| run("dmsetup", &["message", &place.device(), "0", text]);
    message("create_thin 1");
    message(&format!("set_transaction_id {at} {}", at + 5));
    let error = pool.snapshot(&name("base"), &name("snap")).expect_err("somebody changed the pool");
    assert!(matches!(error, Error::Transaction { .. }), "{error}");
    let report = pool.reconcile_by_force(Reconcile::Apply).expect("reconciled");
    assert_eq!(report.transaction, Some(TransactionIds { pool: at + 5, store: at }));
    let snapshot =
        pool.snapshot(&name("base"), &name("snap")).expect("a snapshot").keep().expect("kept");
    assert_eq!(
        byte(&snapshot.device, Bytes(0)),
        b'a',
        "the id that nobody owned was given up first"
    );
    assert_eq!(place.thin_ids(), BTreeSet::from([0, 1]));

    pool.shut_down().expect("stopped");
    fs::write(place.metadata(), vec![0; 8 << 20]).expect("zeroed");
    let error = Pool::open(&place.config).expect_err("a zeroed file is no pool of ours");
    assert!(matches!(error, Error::NotMetadata { .. }), "{error}");
}

#[test]
fn root_devices_in_use_are_refused() {
    let lower = Place::new("lower");
    let upper = Place::new("upper");
    let below = Pool::open(&lower.config).expect("a pool");
    let data = below
        .create_volume(&name("data"), Bytes::mib(64))
        .expect("a volume")
        .keep()
        .expect("kept")
        .device;
    let metadata = below
        .create_volume(&name("meta"), Bytes::mib(8))
        .expect("a volume")
        .keep()
        .expect("kept")
        .device;
    let mut config = upper.config.clone();
    config.backing = Backing::Devices { data: data.clone(), metadata: metadata.clone() };

    assert!(
        matches!(Pool::open(&config), Err(Error::NoPool { .. })),
        "devices are never taken on the way"
    );
    assert!(!config.state_dir.exists());
    run("mke2fs", &["-q", data.to_str().expect("text")]);
    let error = Pool::create(&config).expect_err("a file system is there");
    assert!(matches!(error, Error::Signature { found: "an ext file system", .. }), "{error}");
    run("wipefs", &["--all", data.to_str().expect("text")]);
    let error = Pool::create(&config).expect_err("the rest of it is there");
    assert!(matches!(error, Error::Signature { found: "something unknown", .. }), "{error}");
    fill(&data, Bytes(0), Bytes::mib(1), 0).expect("cleared");

    let claim =
        File::options().read(true).custom_flags(nix::libc::O_EXCL).open(&data).expect("claimed");
    assert!(matches!(Pool::create(&config), Err(Error::InUse { .. })));
    drop(claim);
    config.backing =
        Backing::Devices { data: upper.config.state_dir.clone(), metadata: metadata.clone() };
    assert!(Pool::create(&config).is_err(), "a directory is no device");
    config.backing = Backing::Devices { data, metadata };

    let pool = Pool::create(&config).expect("a pool on devices");
    base(&pool, "base", b'd');
    assert!(matches!(Pool::create(&config), Err(Error::PoolExists { .. })));
    pool.shut_down().expect("stopped");
    assert!(matches!(Pool::create(&config), Err(Error::PoolExists { .. })));
    let pool = Pool::open(&config).expect("found again");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'd');
    pool.destroy().expect("destroyed");
    Pool::create(&config).expect("the devices are free again").destroy().expect("destroyed");
}
