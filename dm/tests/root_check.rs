//! Metadata that is checked, damaged and repaired, against a real kernel. `hack/test` runs this binary as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use devices::Disk;
use lab::{Place, base, byte, name, run};
use sharedroot_dm::{Backing, Bytes, Error, Pool, Reconcile, Remedy};

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

#[test]
fn root_an_unclean_pool_is_checked_refused_and_repaired() {
    let place = Place::new("unclean");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    base(&pool, "other", b'b');
    pool.check().expect("a live pool is checked while it is in use");
    drop(pool);
    place.reset();
    let pool = Pool::open(&place.config).expect("sound");
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    drop(pool);

    place.reset();
    let before = fs::read(place.metadata()).expect("the metadata");
    damage(&place.metadata(), details_root(&place.metadata()));
    let damaged = fs::read(place.metadata()).expect("the metadata");
    let error = Pool::open(&place.config).expect_err("damaged");
    assert!(matches!(error, Error::DamagedMetadata { .. }), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::Repair));
    place.nothing_is_active();
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
    place.nothing_is_active();
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
