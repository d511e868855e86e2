//! Metadata that is checked, damaged, repaired, or that of another pool, against a real kernel. `hack/test` runs this binary as
//! root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use devices::{Disk, Part};
use lab::{Place, base, byte, loop_of, name, run};
use sharedroot_dm::{Backing, Bytes, Error, Pool, PoolConfig, Reconcile, Remedy};

/// Does what a reset of the machine does: removes devices and loop devices, and deactivates nothing.
fn reset(place: &Place) {
    for device in place.dm_devices().iter().rev() {
        run("dmsetup", &["remove", "--retry", device]);
    }
    for file in [place.data(), place.metadata()] {
        if let Some(node) = loop_of(&file) {
            run("losetup", &["-d", &node]);
        }
    }
    fs::remove_dir_all(&place.config.run_dir).expect("the run directory is on a tmpfs");
}

/// Overwrites the leaf that lists the volumes, or whatever block 4 KiB × `number` holds.
fn damage(metadata: &Path, number: u64) {
    let file = File::options().write(true).open(metadata).expect("the metadata");
    file.write_all_at(&[0xa5; 4096], number * 4096).expect("damaged");
    file.sync_all().expect("on the disk");
}

/// The metadata block of the device details' root, from the superblock.
fn details_root(metadata: &Path) -> u64 {
    let mut field = [0; 8];
    let file = File::open(metadata).expect("the metadata");
    file.read_exact_at(&mut field, 328).expect("a superblock");
    u64::from_le_bytes(field)
}

fn nothing_active(place: &Place) {
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    assert_eq!((loop_of(&place.data()), loop_of(&place.metadata())), (None, None));
}

#[test]
fn root_an_unclean_pool_is_checked_refused_and_repaired() {
    let place = Place::new("unclean");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    base(&pool, "other", b'b');
    pool.check().expect("a live pool is checked while it is in use");
    drop(pool);
    reset(&place);
    let pool = Pool::open(&place.config).expect("sound");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    drop(pool);

    reset(&place);
    let before = fs::read(place.metadata()).expect("the metadata");
    damage(&place.metadata(), details_root(&place.metadata()));
    let damaged = fs::read(place.metadata()).expect("the metadata");
    let error = Pool::open(&place.config).expect_err("damaged");
    assert!(matches!(error, Error::DamagedMetadata { .. }), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::Repair));
    nothing_active(&place);
    assert!(fs::read(place.metadata()).expect("the metadata") == damaged, "nothing is changed");

    let pool = Pool::known(&place.config).expect("asked").expect("known");
    assert!(matches!(pool.check(), Err(Error::DamagedMetadata { .. })));
    match pool.repair() {
        Ok(repaired) => {
            assert!(fs::read(repaired.damaged).expect("kept") == damaged, "the old one is kept");
        }
        // thin_repair may not find a root to start from. Then it has changed nothing.
        Err(error) => {
            assert!(matches!(error, Error::Repair { .. }), "{error}");
            assert!(fs::read(place.metadata()).expect("the metadata") == damaged);
            fs::write(place.metadata(), &before).expect("from the backup");
        }
    }
    pool.check().expect("sound");
    drop(pool);
    let pool = Pool::open(&place.config).expect("sound");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    // thin_repair may find an older tree without the younger volume. Then that volume is reported, and only force drops its
    // row.
    let lost = pool.reconcile(Reconcile::DryRun).expect("compared").lost;
    match pool.activate(&name("other")) {
        Ok(active) => assert_eq!(byte(&active.device, Bytes(0)), b'b'),
        Err(error) => assert_eq!(lost, [name("other")], "{error}"),
    }
    pool.reconcile_by_force(Reconcile::Apply).expect("reconciled");
    assert_eq!(pool.volume(&name("other")).expect("asked").is_none(), !lost.is_empty());
    assert!(matches!(pool.repair(), Err(Error::RepairActive { .. })));
}

/// thin_repair can make the bitmap of a space map from the trees, so here it must succeed.
#[test]
fn root_a_lost_space_map_is_repaired() {
    let place = Place::new("bitmap");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    pool.shut_down().expect("stopped");
    let mut root = [0; 8];
    let file = File::open(place.metadata()).expect("the metadata");
    // `bitmap_root` of `data_space_map_root`.
    file.read_exact_at(&mut root, 64 + 16).expect("a superblock");
    damage(&place.metadata(), u64::from_le_bytes(root));

    let pool = Pool::known(&place.config).expect("asked").expect("known");
    let error = pool.check().expect_err("a bitmap is lost");
    assert!(matches!(error, Error::DamagedMetadata { .. }), "{error}");
    // The pool was deactivated cleanly, and is refused nevertheless.
    let error = Pool::open(&place.config).expect_err("known to be damaged");
    assert!(matches!(error, Error::DamagedMetadata { .. }), "{error}");
    nothing_active(&place);
    // The file that an earlier repair left when it was killed.
    fs::write(place.metadata().with_extension("metadata.repairing"), "rubbish").expect("written");
    let repaired = pool.repair().expect("repaired");
    assert!(repaired.damaged.exists());
    pool.check().expect("sound now");
    drop(pool);
    let pool = Pool::open(&place.config).expect("found again");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    base(&pool, "more", b'm');
    let left = fs::read_dir(&place.config.state_dir).expect("a directory");
    let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|n| !n.to_string_lossy().contains("repair")), "{names:?}");
}

#[test]
fn root_damaged_devices_are_repaired_too() {
    let place = Place::new("devrepair");
    let (data, metadata) = (Disk::new("rep-d", Bytes::mib(64)), Disk::new("rep-m", Bytes::mib(8)));
    let mut config = place.config.clone();
    config.backing = Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() };
    let pool = Pool::create(&config).expect("a pool");
    base(&pool, "base", b'a');
    pool.shut_down().expect("stopped");
    let mut root = [0; 8];
    File::open(&metadata.node).and_then(|f| f.read_exact_at(&mut root, 80)).expect("a superblock");
    damage(&metadata.node, u64::from_le_bytes(root));
    let pool = Pool::known(&config).expect("asked").expect("known");
    assert!(matches!(pool.check(), Err(Error::DamagedMetadata { .. })));
    let repaired = pool.repair().expect("repaired");
    assert_eq!(fs::metadata(&repaired.damaged).expect("kept").len(), Bytes::mib(8).0);
    drop(pool);
    let pool = Pool::open(&config).expect("sound");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    pool.destroy().expect("destroyed");
}

/// The repaired copy is written over the device, so a power cut can leave the device half old and half new.
#[test]
fn root_a_repair_that_was_cut_short_is_finished_on_its_device_only() {
    let place = Place::new("halfway");
    let (data, metadata) =
        (Disk::new("half-d", Bytes::mib(64)), Disk::new("half-m", Bytes::mib(8)));
    let mut config = place.config.clone();
    config.backing = Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() };
    let pool = Pool::create(&config).expect("a pool");
    base(&pool, "base", b'a');
    pool.shut_down().expect("stopped");
    let mut root = [0; 8];
    let device = File::open(&metadata.node).expect("the metadata");
    device.read_exact_at(&mut root, 80).expect("a superblock");
    damage(&metadata.node, u64::from_le_bytes(root));
    let mut checksum = [0; 4];
    device.read_exact_at(&mut checksum, 0).expect("a superblock");
    let checksum = u32::from_le_bytes(checksum);
    let copy = config.state_dir.join(format!("halfway.metadata.repaired-{checksum:08x}"));
    let text = copy.to_str().expect("text");
    File::create(&copy).and_then(|file| file.set_len(8 << 20)).expect("a file");
    run("thin_repair", &["-i", metadata.text(), "-o", text]);
    // The device is new from behind the superblock up to its middle. The rest is old, and damaged further.
    let new = fs::read(&copy).expect("the copy");
    let old = File::options().write(true).open(&metadata.node).expect("the device");
    old.write_all_at(&new[4096..64 << 10], 4096).expect("half written");
    (16..40).for_each(|number| damage(&metadata.node, number));

    // By now the name leads to another device.
    let other = Disk::new("half-other", Bytes::mib(8));
    run("mke2fs", &["-q", "-t", "ext4", other.text()]);
    let before = fs::read(&other.node).expect("read");
    let elsewhere = place.config.state_dir.join("store.db");
    run(
        "sqlite3",
        &[
            elsewhere.to_str().expect("text"),
            &format!("UPDATE pools SET metadata = CAST('{}' AS BLOB)", other.text()),
        ],
    );
    let pool = Pool::known(&config).expect("asked").expect("known");
    let error = pool.repair().expect_err("another device");
    assert!(matches!(error, Error::NotMetadata { .. }), "{error}");
    assert!(fs::read(&other.node).expect("read") == before, "a foreign device is not written");
    run(
        "sqlite3",
        &[
            elsewhere.to_str().expect("text"),
            &format!("UPDATE pools SET metadata = CAST('{}' AS BLOB)", metadata.text()),
        ],
    );

    let pool = Pool::known(&config).expect("asked").expect("known");
    pool.repair().expect("finished");
    assert!(!copy.exists(), "a copy that is in place is not kept");
    drop(pool);
    let pool = Pool::open(&config).expect("sound");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    pool.destroy().expect("destroyed");
}

#[test]
fn root_a_pool_whose_devices_are_gone_can_be_given_up() {
    let place = Place::new("gone");
    let (data, metadata) =
        (Disk::new("gone-d", Bytes::mib(64)), Disk::new("gone-m", Bytes::mib(8)));
    let mut config = place.config.clone();
    config.backing = Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() };
    Pool::create(&config).expect("a pool").shut_down().expect("stopped");
    run(
        "sqlite3",
        &[
            place.config.state_dir.join("store.db").to_str().expect("text"),
            "UPDATE pools SET metadata = CAST('/dev/no-such-disk' AS BLOB)",
        ],
    );
    Pool::known(&config).expect("asked").expect("known").destroy().expect("forgotten");
    assert!(!Pool::exists(&config).expect("asked"));
    let error = Pool::create(&config).expect_err("the metadata is still on the device");
    assert!(
        matches!(error, Error::Signature { found: "the metadata of a thin pool", .. }),
        "{error}"
    );
    let pool = Pool::create_overwriting(&config).expect("a pool");
    pool.destroy().expect("destroyed");
    Pool::create(&config).expect("nothing is left on the devices").destroy().expect("destroyed");
}

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
        nothing_active(&one);
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
    nothing_active(&one);
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
    reset(&place);
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
