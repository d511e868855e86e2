//! A new snapshot that gets a smaller size, against a real kernel: the snapshot cannot use more of the pool than that size.
//!
//! Guest: --no-docker

mod lab;

use std::fs;
use std::io::Write;
use std::path::Path;

use lab::{Place, base, byte, fill, name, run};
use sharedroot_dm::{Bytes, Error, Pool};

/// The size of a device in bytes.
fn size(device: &Path) -> u64 {
    let device = device.to_str().expect("text");
    run("blockdev", &["--getsize64", device]).trim().parse().expect("a size")
}

fn used(pool: &Pool) -> u64 {
    pool.status().expect("a status").data.expect("figures").used
}

#[test]
fn root_a_snapshot_that_is_made_smaller_takes_no_more() {
    let place = Place::new("shrink");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let whole = pool.volume(&name("base")).expect("asked").expect("a base").size;
    let small = name("small");
    let mut new = pool.snapshot(&name("base"), &small).expect("a snapshot");
    assert_eq!(new.whole_blocks_within(Bytes(Bytes::mib(3).0 + 77)), Bytes::mib(3));
    for wrong in [Bytes(0), Bytes(whole.0 + 1)] {
        assert!(matches!(new.shrink(wrong), Err(Error::Size { .. })), "{wrong}");
    }
    assert_eq!((size(new.device()), new.size()), (whole.0, whole), "unchanged");
    new.shrink(Bytes::mib(3)).expect("smaller");
    assert_eq!((size(new.device()), new.size()), (Bytes::mib(3).0, Bytes::mib(3)));
    assert_eq!(byte(new.device(), Bytes(0)), b'a', "its content stays");

    // Every byte of the snapshot can be written, and no byte beyond.
    let before = used(&pool);
    fill(new.device(), Bytes(0), Bytes::mib(3), b's').expect("written");
    let mut device = fs::OpenOptions::new().append(true).open(new.device()).expect("open");
    std::io::Seek::seek(&mut device, std::io::SeekFrom::Start(Bytes::mib(3).0)).expect("sought");
    assert!(device.write_all(b"beyond").and_then(|()| device.sync_all()).is_err());
    drop(device);
    run("sync", &[]);
    let taken = used(&pool) - before;
    assert_eq!(taken, Bytes::mib(3).0 / Bytes::kib(64).0);
    assert_eq!(pool.exclusive_bytes().expect("read").get(&small), Some(&Bytes::mib(3)));

    // The store has the size, so it stays across activations. A new volume that is not kept is deleted completely.
    new.keep().expect("kept");
    assert_eq!(pool.volume(&small).expect("asked").expect("there").size, Bytes::mib(3));
    pool.deactivate(&small).expect("inactive");
    assert_eq!(size(&pool.activate(&small).expect("active").device), Bytes::mib(3).0);
    pool.delete(&small).expect("deleted");
    assert_eq!(used(&pool), before);
    let mut new = pool.snapshot(&name("base"), &small).expect("a snapshot");
    new.shrink(Bytes::mib(1)).expect("smaller");
    drop(new);
    assert_eq!(pool.volume(&small).expect("asked"), None);
}
