//! Pools that grow, against a real kernel. `hack/test` runs this binary as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use devices::{Disk, Part};
use lab::{Place, base, byte, fill, name, run};
use sharedroot_dm::{Backing, Bytes, Deleted, Error, Pool, PoolMode, Remedy};

/// A volume larger than any pool here.
fn big(pool: &Pool) -> std::path::PathBuf {
    let new = pool.create_volume(&name("big"), Bytes::gib(1)).expect("more than there is");
    new.keep().expect("kept").device
}

fn total(pool: &Pool) -> Bytes {
    let status = pool.status().expect("a status");
    Bytes(status.data.expect("figures").total * status.block.0)
}

fn metadata_total(pool: &Pool) -> Bytes {
    let status = pool.status().expect("a status");
    Bytes(status.metadata.expect("figures").total * status.metadata_block.0)
}

#[test]
fn root_a_loop_pool_grows_before_it_refuses() {
    let place = Place::new("low");
    let pool = Pool::open(&place.config).expect("a pool");
    fill(&big(&pool), Bytes(0), Bytes::mib(118), b'f').expect("written");
    base(&pool, "more", b'm');
    assert_eq!(total(&pool), Bytes::mib(192), "by half");
    assert_eq!(fs::metadata(place.data()).expect("a file").len(), Bytes::mib(192).0);
    pool.shut_down().expect("stopped");
    let pool = Pool::open(&place.config).expect("found again");
    assert_eq!(total(&pool), Bytes::mib(192), "for good");
}

#[test]
fn root_room_is_made_before_anything_is_written() {
    let place = Place::new("room");
    let pool = Pool::open(&place.config).expect("a pool");
    let before = total(&pool);
    pool.make_room(Bytes::mib(64)).expect("there is room");
    assert_eq!(total(&pool), before, "as it was");
    pool.make_room(Bytes::mib(400)).expect("room is made");
    let grown = total(&pool);
    assert!(grown > Bytes::mib(440) && grown < Bytes::mib(460), "a tenth stays free: {grown}");
    fill(&big(&pool), Bytes(0), Bytes::mib(400), b'r').expect("written");
    base(&pool, "more", b'm');
    let error = pool.make_room(Bytes::gib(1 << 20)).expect_err("no disk is so large");
    assert!(matches!(error, Error::TooSmall { .. }), "{error}");
    assert_eq!(total(&pool), grown, "as it was");
}

#[test]
fn root_a_full_pool_works_again_once_it_has_grown() {
    let place = Place::new("regrow");
    let pool = Pool::open(&place.config).expect("a pool");
    let device = big(&pool);
    fill(&device, Bytes(0), Bytes::mib(140), b'f').expect_err("not one block is left");
    assert_eq!(pool.status().expect("a status").mode, PoolMode::OutOfDataSpace);
    let started = Instant::now();
    fill(&device, Bytes::mib(140), Bytes::mib(1), b'f').expect_err("at once");
    // Without `error_if_no_space` the kernel lets writers wait for a minute (no_space_timeout).
    assert!(started.elapsed() < Duration::from_secs(40), "a full pool does not let writers hang");

    pool.grow(Some(Bytes::mib(256)), Some(Bytes::mib(16))).expect("grown");
    assert_eq!((total(&pool), metadata_total(&pool)), (Bytes::mib(256), Bytes::mib(16)));
    assert_eq!(pool.status().expect("a status").mode, PoolMode::ReadWrite);
    fill(&device, Bytes(0), Bytes::mib(140), b'g').expect("the same device takes the write now");
    assert_eq!(byte(&device, Bytes::mib(139)), b'g');
    base(&pool, "base", b'b');
    assert!(!pool.status().expect("a status").needs_check);
}

#[test]
fn root_a_pool_does_not_shrink_and_takes_no_more_than_its_file_system_has() {
    let place = Place::new("bounds");
    let pool = Pool::open(&place.config).expect("a pool");
    let error = pool.grow(Some(Bytes::mib(64)), None).expect_err("smaller");
    assert!(matches!(error, Error::Shrink { .. }), "{error}");
    let error = pool.grow(Some(Bytes::gib(1 << 20)), None).expect_err("more than there is");
    assert!(matches!(error, Error::NoRoomToGrow { .. }), "{error}");
    assert_eq!(total(&pool), Bytes::mib(128));
    assert_eq!(fs::metadata(place.data()).expect("a file").len(), Bytes::mib(128).0);
    let odd = Bytes(Bytes::mib(130).0 + 4321);
    pool.grow(Some(odd), None).expect("whole blocks of it");
    assert_eq!(total(&pool), Bytes::mib(130));
    pool.grow(Some(Bytes::mib(128)), None).expect_err("smaller");
    pool.grow(Some(Bytes::mib(130)), None).expect("as it is");
    pool.destroy().expect("destroyed");
    let pool = Pool::open(&place.config).expect("a pool");
    pool.grow(None, None).expect("by half");
    assert_eq!(total(&pool), Bytes::mib(192));
}

/// The kernel exchanges the tables before it finds the new table too small, and would leave the pool suspended.
#[test]
fn root_a_store_from_before_a_growth_does_not_make_the_pool_smaller() {
    let place = Place::new("older");
    let pool = Pool::open(&place.config).expect("a pool");
    let device = big(&pool);
    drop(pool);
    let (store, copy) =
        (place.config.state_dir.join("store.db"), place.config.state_dir.join("copy.db"));
    let [from, to] = [&store, &copy].map(|path| path.to_str().expect("text"));
    run("sqlite3", &[from, &format!("VACUUM INTO '{to}'")]);
    let pool = Pool::open(&place.config).expect("the pool");
    pool.grow(Some(Bytes::mib(256)), None).expect("grown");
    drop(pool);
    run("sh", &["-c", &format!("rm -f {from}-wal {from}-shm && cp {to} {from}")]);
    let pool = Pool::open(&place.config).expect("the pool");
    let error = pool.grow(Some(Bytes::mib(192)), None).expect_err("less than the pool has");
    assert!(matches!(error, Error::Shrink { data, .. } if data == Bytes::mib(256)), "{error}");
    assert!(pool.is_active().expect("asked"), "not suspended");
    fill(&device, Bytes(0), Bytes::mib(1), b'x').expect("it goes on");
}

#[test]
fn root_metadata_grows_before_a_volume_is_refused() {
    let mut place = Place::new("meta");
    place.config.backing = Backing::Loop { data: Bytes::gib(1), metadata: Bytes::kib(512) };
    let pool = Pool::open(&place.config).expect("a pool");
    let before = metadata_total(&pool);
    // Each volume that is written has a tree of its own in the metadata.
    for number in 0..200 {
        let new =
            pool.create_volume(&name(&format!("v{number}")), Bytes::mib(1)).expect("a volume");
        fill(new.device(), Bytes(0), Bytes::kib(64), b'x').expect("written");
        new.seal().expect("sealed");
        if metadata_total(&pool) > before {
            assert_eq!(pool.status().expect("a status").mode, PoolMode::ReadWrite);
            return;
        }
    }
    panic!("200 volumes did not fill {before} of metadata: {:?}", pool.status());
}

/// Writers alone can use up the metadata. Then the kernel refuses every change. With many writes in flight it gives up the
/// pool.
#[test]
fn root_a_pool_without_metadata_works_again_without_a_reboot() {
    let mut place = Place::new("nometa");
    place.config.backing = Backing::Loop { data: Bytes::gib(4), metadata: Bytes::kib(512) };
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "first", b'1');
    let new = pool.create_volume(&name("wide"), Bytes::gib(8)).expect("a volume");
    let device = new.keep().expect("kept").device;
    let file = fs::File::options().write(true).open(&device).expect("open");
    let mut offset = 0;
    while pool.status().expect("a status").mode == PoolMode::ReadWrite {
        assert!(offset < Bytes::gib(8).0, "{:?}", pool.status());
        for _ in 0..256 {
            // One page makes one mapping.
            let _ = file.write_at(&[b'w'; 4096], offset);
            offset += Bytes::kib(64).0;
        }
        let _ = file.sync_data();
    }
    drop(file);
    let pool = if pool.status().expect("a status").mode == PoolMode::Fail {
        let stuck = pool.create_volume(&name("more"), Bytes::mib(16)).expect_err("given up");
        assert_eq!(stuck.remedy(), Some(Remedy::ActivateAnew));
        pool.shut_down().expect("as the error says");
        Pool::open(&place.config).expect("checked and sound")
    } else {
        pool
    };
    base(&pool, "base", b'b');
    assert!(metadata_total(&pool) > Bytes::kib(512), "it has grown on the way");
    let status = pool.status().expect("a status");
    assert_eq!((status.mode, status.needs_check), (PoolMode::ReadWrite, false));
    let first = pool.activate(&name("first")).expect("active").device;
    assert_eq!(byte(&first, Bytes(0)), b'1', "nothing that was there before is lost");
    let wide = pool.activate(&name("wide")).expect("active").device;
    fill(&wide, Bytes::gib(7), Bytes::mib(1), b'x').expect("it goes on");
}

#[test]
fn root_the_watch_grows_a_pool_that_only_writers_fill() {
    let place = Place::new("watch");
    let pool = Pool::open(&place.config).expect("a pool");
    let device = big(&pool);
    std::thread::scope(|scope| {
        let watcher = Pool::open(&place.config).expect("the pool");
        let watch = scope.spawn(move || watcher.watch(|_, _| ()));
        std::thread::sleep(Duration::from_millis(300));
        fill(&device, Bytes(0), Bytes::mib(120), b'w').expect("written");
        let end = Instant::now() + Duration::from_secs(120);
        while total(&pool) == Bytes::mib(128) {
            assert!(Instant::now() < end, "nobody has grown the pool");
            std::thread::sleep(Duration::from_millis(50));
        }
        fill(&device, Bytes::mib(120), Bytes::mib(40), b'w').expect("there is room now");
        pool.shut_down().expect("stopped");
        watch.join().expect("no panic").expect("the watch ends with the pool");
    });
}

#[test]
fn root_devices_are_grown_by_their_owner() {
    let place = Place::new("owner");
    let data = Part::new("grow-data", Bytes::mib(256), Bytes::mib(64));
    let metadata = Part::new("grow-meta", Bytes::mib(32), Bytes::mib(8));
    let mut config = place.config.clone();
    config.backing = Backing::Devices { data: data.node(), metadata: metadata.node() };
    let pool = Pool::create(&config).expect("a pool on devices");
    fill(&big(&pool), Bytes(0), Bytes::mib(60), b'f').expect("written");
    let full = pool.create_volume(&name("more"), Bytes::mib(16)).expect_err("above 90 %");
    assert!(matches!(full, Error::Full { what: "data", .. }), "{full}");
    assert!(full.to_string().contains("of 64 MiB for data in"), "{full}");
    assert_eq!(full.remedy(), Some(Remedy::MakeRoom));

    assert!(matches!(pool.grow(Some(Bytes::mib(128)), None), Err(Error::GrowDevices { .. })));
    data.resize(Bytes::mib(256));
    metadata.resize(Bytes::mib(32));
    assert_eq!(total(&pool), Bytes::mib(64), "not by itself");
    let error = pool.make_room(Bytes::mib(64)).expect_err("not by itself");
    assert!(matches!(error, Error::Full { what: "data", .. }), "{error}");
    pool.grow(None, None).expect("grown");
    assert_eq!((total(&pool), metadata_total(&pool)), (Bytes::mib(256), Bytes::mib(32)));
    base(&pool, "more", b'm');
    assert_eq!(pool.delete(&name("big")).expect("deleted"), Deleted::Deleted);
    pool.destroy().expect("destroyed");
}

#[test]
fn root_deleting_frees_a_full_pool() {
    let place = Place::new("free");
    let [data, metadata] =
        [("free-d", 64), ("free-m", 8)].map(|(n, m)| Disk::new(n, Bytes::mib(m)));
    let mut config = place.config.clone();
    config.backing = Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() };
    let pool = Pool::create(&config).expect("a pool on devices");
    fill(&big(&pool), Bytes(0), Bytes::mib(80), b'f').expect_err("not one block is left");
    assert_eq!(pool.status().expect("a status").mode, PoolMode::OutOfDataSpace);
    assert_eq!(pool.delete(&name("big")).expect("works in a full pool"), Deleted::Deleted);
    assert_eq!(pool.status().expect("a status").mode, PoolMode::ReadWrite);
    base(&pool, "base", b'b');
    pool.destroy().expect("destroyed");
}

/// A file system of 200 MiB below the state directory.
#[test]
fn root_a_full_file_system_below_is_said() {
    let mut place = Place::new("tight");
    let disk = Disk::new("tight", Bytes::mib(200));
    run("mke2fs", &["-q", "-t", "ext4", disk.text()]);
    let state = place.config.state_dir.join("small");
    fs::create_dir_all(&state).expect("a directory");
    let at = state.to_str().expect("text").to_owned();
    run("mount", &[disk.text(), &at]);
    place.config.state_dir.clone_from(&state);
    place.config.backing = Backing::Loop { data: Bytes::mib(96), metadata: Bytes::mib(4) };
    let pool = Pool::open(&place.config).expect("a pool");
    let device = big(&pool);
    fill(&device, Bytes(0), Bytes::mib(90), b'f').expect("written");
    // Fill the rest of the file system. The pool's file keeps its blocks, but cannot grow.
    let mut file = fs::File::create(state.join("other")).expect("a file");
    while file.write_all(&[1; 1 << 20]).is_ok() {}
    // The store needs some pages.
    let length = file.metadata().expect("a file").len();
    file.set_len(length - (4 << 20)).expect("shorter");
    drop(file);
    // The freed blocks can be used only after the next commit of the journal.
    run("sync", &[]);
    let full = pool.create_volume(&name("more"), Bytes::mib(16)).expect_err("no room to grow");
    assert!(matches!(full, Error::Full { what: "data", .. }), "{full}");
    let error = pool.grow(None, Some(Bytes::gib(1))).expect_err("nor for metadata");
    assert!(matches!(error, Error::NoRoomToGrow { .. }), "{error}");
    assert!(pool.is_active().expect("asked"));
    let metadata = fs::metadata(state.join("tight.metadata")).expect("a file");
    assert_eq!(
        std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 / 4096,
        1024,
        "its room is its own"
    );
    fs::remove_file(state.join("other")).expect("removed");
    pool.delete(&name("big")).expect("deleted");
    pool.destroy().expect("destroyed");
    run("umount", &[&at]);
}
