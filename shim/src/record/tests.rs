use std::fs::File;

use nix::fcntl::{Flock, FlockArg};

use super::*;

const KEY: &str = "ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01";

fn run_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("sharedroot-record-{name}-{}", std::process::id()));
    sharedroot_sys::private_dir::private_dir(&dir).unwrap();
    dir
}

#[test]
fn a_record_is_claimed_once_and_reads_back() {
    let run = run_dir("claimed");
    let id = "c1".parse().unwrap();
    let place = Place::of(&run, Path::new("/run/moby"), &id);
    let other = Place::of(&run, Path::new("/run/k8s"), &id);
    let lock = place.claim().unwrap();
    assert!(place.abandoned().unwrap().is_none());
    let mut lock = lock;
    lock.let_go();
    assert!(place.abandoned().unwrap().is_some());
    assert!(place.regain(&mut lock).unwrap());
    assert!(place.abandoned().unwrap().is_none());
    lock.let_go();
    place.remove().unwrap();
    let another = place.claim().unwrap();
    drop(another);
    assert!(!place.regain(&mut lock).unwrap(), "another container has the ID");
    drop(lock);
    assert!(place.abandoned().unwrap().is_some());
    assert!(matches!(place.claim(), Err(RecordError::Exists { .. })));
    let _other = other.claim().unwrap();
    assert!(place.read().unwrap().is_none());
    let rootfs = Rootfs::NotShared { why: "test".to_owned() };
    let record = Record {
        id: "c1".into(),
        bundle: "/b".into(),
        engine: Choice::Libcontainer,
        root_path: "/r".into(),
        rootfs,
    };
    place.write(&record).unwrap();
    assert_eq!(place.read().unwrap().unwrap().rootfs, record.rootfs);
    assert_eq!(all(&run).unwrap().len(), 1);
    assert_eq!(ids(&run, Path::new("/run/moby")).unwrap(), ["c1"]);
    assert_eq!(ids(&run, Path::new("/run/none")).unwrap(), [""; 0]);
    // A version without the field `engine` had the embedded engine only, and wrote "as given" for "not shared".
    let old = r#"{"id":"c1","bundle":"/b","root_path":"/r",
                  "rootfs":{"kind":"as_given","why":"test"}}"#;
    fs::write(place.dir().join("record.json"), old).unwrap();
    let read = place.read().unwrap().unwrap();
    assert_eq!((read.engine, read.rootfs), (Choice::Libcontainer, record.rootfs));
    let shared = format!(r#""shared","base":"{KEY}""#);
    let old_shared = old.replace(r#""as_given","why":"test""#, &shared);
    fs::write(place.dir().join("record.json"), &old_shared).unwrap();
    let base: BaseKey = KEY.parse().unwrap();
    let shared = Rootfs::Shared { base, scaffold: None };
    assert_eq!(place.read().unwrap().unwrap().rootfs, shared);
    let lease = shared.lease(place.dir(), "c1").unwrap();
    assert_eq!(leases(&run).unwrap(), std::slice::from_ref(&lease));
    // A base of another format is another base.
    let other = old_shared.replace(KEY, &format!("f2-{KEY}"));
    fs::write(place.dir().join("record.json"), other).unwrap();
    let other = place.read().unwrap().unwrap().rootfs.lease(place.dir(), "c1").unwrap();
    assert_eq!((other.base.to_string(), other.base == lease.base), (format!("f2-{KEY}"), false));
    place.remove().unwrap();
    place.remove().unwrap();
    assert!(place.read().unwrap().is_none());
    fs::remove_dir_all(run).unwrap();
}

/// A record with a snapshot of this name.
fn private(id: &ContainerId, volume: &VolumeName) -> Record {
    let (base, mount_point) = (KEY.parse().unwrap(), "/m".into());
    let rootfs = Rootfs::Private { base, volume: volume.clone(), mount_point };
    Record {
        id: id.to_string(),
        bundle: "/b".into(),
        engine: Choice::Libcontainer,
        root_path: "/r".into(),
        rootfs,
    }
}

#[test]
fn a_record_is_forgotten_under_its_lock_only() {
    let run = run_dir("forgotten");
    let run = run.as_path();
    let (root, id) = (Path::new("/run/moby"), "c1".parse().unwrap());
    let volume = VolumeName::of_snapshot(root, "c1");
    let place = Place::of(run, root, &id);
    let lock = place.claim().unwrap();
    place.write(&private(&id, &volume)).unwrap();
    // A `create` or a `delete` goes on.
    Records(run).forget(&volume).unwrap();
    assert!(place.read().unwrap().is_some());
    drop(lock);
    // Another container got the ID after somebody had seen the record of the first.
    let known = Place::at(place.dir().to_owned()).unwrap();
    place.remove().unwrap();
    let other =
        Record { rootfs: Rootfs::NotShared { why: "test".into() }, ..private(&id, &volume) };
    let lock = place.claim().unwrap();
    place.write(&other).unwrap();
    drop(lock);
    known.remove_if(|record| matches!(record.rootfs, Rootfs::Private { .. })).unwrap();
    assert!(place.read().unwrap().is_some());
    place.write(&private(&id, &volume)).unwrap();
    Records(run).forget(&volume).unwrap();
    assert!(!place.dir().exists());
    fs::remove_dir_all(run).unwrap();
}

/// A `delete` that found no record looks again before it removes anything: a `create` may have claimed the ID.
#[test]
fn a_claim_after_the_first_look_keeps_its_lock_file() {
    let run = run_dir("second-look");
    let place = Place::of(&run, Path::new("/run/moby"), &"c1".parse().unwrap());
    let first = place.wait().unwrap();
    assert!(!first.is_held() && !first.is_others(), "there is no record");
    let second = place.wait_for_any().unwrap();
    assert!(!second.is_held() && !place.dir().exists(), "nothing is made, so nothing is removed");
    let claimed = place.claim().unwrap();
    assert!(place.wait_for_any().unwrap().is_others());
    assert!(place.dir().join("lock").exists());
    drop(claimed);
    assert!(place.wait_for_any().unwrap().is_held());
    // A `create` that was killed between the directory and its lock.
    fs::remove_file(place.dir().join("lock")).unwrap();
    assert!(!place.wait().unwrap().is_held());
    assert!(place.wait_for_any().unwrap().is_held());
    fs::remove_dir_all(run).unwrap();
}

#[test]
fn a_lock_is_of_the_record_that_is_there() {
    let run = run_dir("waits");
    let place = Place::of(&run, Path::new("/run/moby"), &"c1".parse().unwrap());
    assert!(!place.wait().unwrap().is_held(), "there is no record");
    let first = place.claim().unwrap();
    std::thread::scope(|scope| {
        // A `delete` waits while another one removes the record, and a `create` makes the next one.
        let waits = scope.spawn(|| place.wait().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
        let next = place.dir().join("next");
        let second = Flock::lock(File::create(&next).unwrap(), FlockArg::LockExclusive).unwrap();
        fs::rename(next, place.dir().join("lock")).unwrap();
        drop(first);
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waits.is_finished(), "the second one is locked");
        drop(second);
        assert!(waits.join().unwrap().is_held());
    });
    fs::remove_dir_all(run).unwrap();
}
