//! A complete volume that is sealed later, and what its mappings take, against a real kernel. `hack/test` runs this as root in
//! the lab.
//!
//! Guest: --no-docker

mod lab;

use std::fs::{File, OpenOptions};

use lab::{Place, byte, fill, name};
use sharedroot_dm::{Bytes, Error, Pool, Reconcile, Sealed};

#[test]
fn root_a_complete_volume_is_sealed_when_nobody_uses_it() {
    let place = Place::new("seal");
    let pool = Pool::open(&place.config).expect("a pool");
    let volume = name("later");
    let device = pool.create_volume(&volume, Bytes::mib(16)).expect("a volume");
    let device = device.keep().expect("kept").device;
    fill(&device, Bytes(0), Bytes::mib(1), b'a').expect("written");

    let user = File::open(&device).expect("open");
    assert_eq!(pool.seal(&volume).expect("asked"), Sealed::InUse);
    assert!(pool.is_in_use(&volume).expect("asked"));
    fill(&device, Bytes::mib(1), Bytes::kib(64), b'b').expect("it can still be written");
    assert!(!pool.volume(&volume).expect("asked").expect("there").sealed);
    drop(user);
    assert!(!pool.is_in_use(&volume).expect("asked"));

    assert_eq!(pool.seal(&volume).expect("sealed"), Sealed::Sealed);
    let sealed = pool.volume(&volume).expect("asked").expect("there");
    assert!(sealed.sealed && !sealed.active, "{sealed:?}");
    assert_eq!(pool.seal(&volume).expect("a second time"), Sealed::Sealed);
    let taken = Bytes(Bytes::mib(1).0 + (64 << 10));
    assert_eq!(pool.mapped(&volume).expect("asked"), Some(taken), "it is not active");
    assert!(
        !pool.volume(&volume).expect("asked").expect("there").active,
        "to ask activates nothing"
    );

    let device = pool.activate(&volume).expect("active").device;
    assert_eq!(byte(&device, Bytes::mib(1)), b'b', "it has all that was written");
    let refused = OpenOptions::new().write(true).open(&device).and_then(|file| file.sync_all());
    let written = fill(&device, Bytes(0), Bytes::kib(64), b'x');
    assert!(refused.is_err() || written.is_err(), "the device is read-only");
    assert_eq!(byte(&device, Bytes(0)), b'a');
    assert_eq!(pool.mapped(&volume).expect("asked"), Some(taken));
    let all = pool.mapped_of_all().expect("asked").expect("the pool is active");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [(volume, taken)]);
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());

    assert!(matches!(pool.seal(&name("none")), Err(Error::NoVolume { .. })));
    assert_eq!(pool.mapped(&name("none")).expect("asked"), None);
}

#[test]
fn root_a_snapshot_of_a_volume_that_was_sealed_later_takes_only_what_it_writes() {
    let place = Place::new("heir");
    let pool = Pool::open(&place.config).expect("a pool");
    let (origin, heir) = (name("origin"), name("heir"));
    let device = pool.create_volume(&origin, Bytes::mib(16)).expect("a volume");
    let device = device.keep().expect("kept").device;
    fill(&device, Bytes(0), Bytes::mib(1), b'a').expect("written");
    let early = pool.snapshot(&origin, &name("early")).expect("a snapshot of an open origin");
    early.keep().expect("kept");
    pool.seal(&origin).expect("sealed");

    let device = pool.snapshot(&origin, &heir).expect("a snapshot").keep().expect("kept").device;
    assert_eq!(pool.mapped(&heir).expect("asked"), Some(Bytes::mib(1)), "shared blocks count");
    fill(&device, Bytes::mib(8), Bytes::kib(128), b'h').expect("written");
    assert_eq!(pool.mapped(&heir).expect("asked"), Some(Bytes(Bytes::mib(1).0 + (128 << 10))));
    for volume in [heir, name("early"), origin] {
        pool.delete(&volume).expect("deleted");
    }
    assert_eq!(pool.status().expect("a status").data.expect("figures").used, 0);
}
