//! Volumes that are in use, that grow, or that are deleted, against a real kernel. `hack/test` runs this as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use devices::Disk;
use lab::{Place, base, byte, fill, name, run};
use rusqlite::Connection;
use sharedroot_dm::{Backing, Bytes, Deleted, Error, Pool, PoolConfig, Reconcile, ThinId, User};

/// A process that has a device mounted in a mount namespace of its own, such as a copy of the host's mount namespace.
struct Leak {
    child: Child,
    at: PathBuf,
}

impl Leak {
    fn of(device: &Path, at: PathBuf) -> Self {
        fs::create_dir_all(&at).expect("a directory");
        let script = "mount \"$0\" \"$1\" && echo mounted && exec sleep 1000";
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .args([device, &at])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut said = [0; 8];
        let out = child.stdout.as_mut().expect("a pipe");
        out.read_exact(&mut said).expect("it is mounted");
        Self { child, at }
    }

    fn end(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("dead");
    }
}

impl Drop for Leak {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the kernel has removed the device, which it does from a work queue.
fn wait_for_removal(place: &Place) {
    let end = Instant::now() + Duration::from_secs(120);
    while place.dm_devices().len() > 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(place.dm_devices(), [place.device()], "the kernel removed the device");
}

/// The size of a device in bytes.
fn size(device: &Path) -> u64 {
    let device = device.to_str().expect("text");
    run("blockdev", &["--getsize64", device]).trim().parse().expect("a size")
}

/// The size of a file's blocks in its file system, in bytes.
fn taken(file: &Path) -> u64 {
    File::open(file).and_then(|file| file.sync_all()).expect("on the disk");
    fs::metadata(file).expect("a file").blocks() * 512
}

fn filled(device: &Path, length: Bytes, with: u8) -> bool {
    let mut content = Vec::new();
    File::open(device).expect("open").take(length.0).read_to_end(&mut content).expect("read");
    content.len() as u64 == length.0 && content.iter().all(|byte| *byte == with)
}

#[test]
fn root_a_volume_mounted_elsewhere_is_deleted_when_its_user_is_gone() {
    let place = Place::new("leak");
    let pool = Pool::open(&place.config).expect("a pool");
    let leaky = name("leaky");
    let new = pool.create_volume(&leaky, Bytes::mib(16)).expect("a volume");
    run("mke2fs", &["-q", "-t", "ext4", new.device().to_str().expect("text")]);
    let device = new.keep().expect("kept").device;
    let mut leak = Leak::of(&device, place.config.run_dir.join("a b"));

    let before = (place.thin_ids(), place.dm_devices(), pool.volumes().expect("a list"));
    let busy = pool.delete(&leaky).expect_err("it is mounted").naming_users();
    let who = format!("sleep (pid {}) mounted at {}", leak.child.id(), leak.at.display());
    assert!(matches!(busy, Error::Busy { .. }) && busy.to_string().contains(&who), "{busy}");
    let after = (place.thin_ids(), place.dm_devices(), pool.volumes().expect("a list"));
    assert_eq!(after, before, "a refused deletion changes nothing");

    assert!(used(&pool) > 0);
    assert_eq!(pool.delete_when_idle(&leaky, None).expect("deferred"), Deleted::Deferred);
    assert_eq!((place.thin_ids(), used(&pool)), (BTreeSet::new(), 0), "only the device is left");
    let lingering = pool.lingering().expect("a list");
    let [one] = &lingering[..] else { panic!("{lingering:?}") };
    assert_eq!((&one.name, one.was.as_ref()), (&name("deleted.0"), Some(&leaky)));
    assert!(one.users().to_string().contains(&who), "{}", one.users());
    let read =
        fs::read_dir(format!("/proc/{}/root{}/lost+found", leak.child.id(), leak.at.display()));
    assert!(read.is_err(), "its file system has lost its disk");
    assert_eq!(pool.volume(&leaky).expect("asked"), None);
    assert_eq!(
        pool.delete_when_idle(&leaky, None).expect("asked"),
        Deleted::NotThere,
        "a second time"
    );
    let rest = name("deleted.0");
    assert_eq!(pool.delete_when_idle(&rest, None).expect("asked"), Deleted::Deferred);
    // The name is free for another volume, which shares nothing with the old one.
    let new = pool.create_volume(&leaky, Bytes::mib(16)).expect("the name is free");
    let other = new.keep().expect("kept").device;
    fill(&other, Bytes(0), Bytes::mib(1), b'n').expect("written");
    assert_eq!(place.thin_ids(), BTreeSet::from([1]), "the id of a device in use is not given out");
    assert_eq!(pool.delete(&leaky).expect("deleted"), Deleted::Deleted);

    let start = Instant::now();
    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    assert!(report.is_clean() && report.waiting == [rest.clone()], "{report}");
    drop(Pool::open(&place.config).expect("opened while it is in use"));
    println!("a deferred volume: reconcile and open took {:?}", start.elapsed());
    assert_eq!(place.thin_ids(), BTreeSet::new());

    leak.end();
    wait_for_removal(&place);
    let pool = Pool::open(&place.config).expect("opened");
    assert_eq!(pool.volumes().expect("a list"), []);
    assert_eq!(place.thin_ids(), BTreeSet::new());
    assert_eq!((used(&pool), pool.lingering().expect("a list").len()), (0, 0));
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
}

/// The kernel has this file system as one of another type, and gives no second mount, as it gives none with another label.
#[test]
fn root_a_file_system_that_cannot_be_shut_down_keeps_its_disk() {
    let place = Place::new("kept");
    let pool = Pool::open(&place.config).expect("a pool");
    let leaky = name("leaky");
    let new = pool.create_volume(&leaky, Bytes::mib(16)).expect("a volume");
    run("mke2fs", &["-q", "-t", "ext3", new.device().to_str().expect("text")]);
    let device = new.keep().expect("kept").device;
    let mut leak = Leak::of(&device, place.config.run_dir.join("leak"));
    assert_eq!(pool.delete_when_idle(&leaky, None).expect("deferred"), Deleted::Deferred);
    assert_eq!(
        (place.thin_ids(), pool.volume(&leaky).expect("asked")),
        (BTreeSet::from([0]), None)
    );
    assert_eq!(pool.lingering().expect("a list").len(), 1, "it counts");
    let seen = format!("/proc/{}/root{}", leak.child.id(), leak.at.display());
    fs::write(Path::new(&seen).join("file"), "x").expect("its file system has its disk");
    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    assert!(report.is_clean() && report.waiting.len() == 1, "{report}");
    leak.end();
    wait_for_removal(&place);
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
    assert_eq!((place.thin_ids(), used(&pool)), (BTreeSet::new(), 0));
}

/// The blocks of the pool that are in use.
fn used(pool: &Pool) -> u64 {
    pool.status().expect("a status").data.expect("figures").used
}

#[test]
fn root_a_deferral_that_was_cut_short_is_finished() {
    let place = Place::new("cut");
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("cut"), Bytes::mib(16)).expect("a volume");
    let open = File::open(new.keep().expect("kept").device).expect("open");
    // The process was killed after the row had its new name, and before the device had that name.
    let store = Connection::open(place.config.state_dir.join("store.db")).expect("the store");
    store
        .execute("UPDATE volumes SET name = 'deleted.0', phase = 'deleting'", [])
        .expect("changed");
    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    assert!(report.failed.is_empty() && report.waiting == [name("deleted.0")], "{report}");
    let device = format!("{}-deleted.0", place.device());
    assert_eq!(BTreeSet::from_iter(place.dm_devices()), BTreeSet::from([place.device(), device]));
    assert_eq!(place.thin_ids(), BTreeSet::new(), "only the device is left");
    drop(open);
    wait_for_removal(&place);
    let report =
        Pool::open(&place.config).expect("opened").reconcile(Reconcile::Apply).expect("reconciled");
    assert!(report.is_clean(), "{report}");
    assert_eq!((place.thin_ids(), place.dm_devices()), (BTreeSet::new(), vec![place.device()]));
}

/// On a block device the page cache would show metadata of an earlier read.
#[test]
fn root_what_a_snapshot_has_written_is_known_while_it_is_in_use() {
    let place = Place::new("written");
    let (data, metadata) = (Disk::new("wr-d", Bytes::mib(64)), Disk::new("wr-m", Bytes::mib(8)));
    let devices = Backing::Devices { data: data.node.clone(), metadata: metadata.node.clone() };
    for backing in [place.config.backing.clone(), devices] {
        let pool = Pool::create(&PoolConfig { backing, ..place.config.clone() }).expect("a pool");
        base(&pool, "base", b'a');
        let new = pool.snapshot(&name("base"), &name("snapshot")).expect("a snapshot");
        let device = new.keep().expect("kept").device;
        let user = File::open(&device).expect("open");
        let written = || pool.written(&name("snapshot")).expect("asked");
        assert_eq!(written(), []);
        let piece = |from: u64, to: u64| Bytes::kib(from * 64).0..Bytes::kib(to * 64).0;
        fill(&device, Bytes::kib(3 * 64), Bytes::kib(64), b's').expect("a shared block");
        assert_eq!(written(), [piece(3, 4)]);
        fill(&device, Bytes::mib(8), Bytes::kib(128), b's').expect("blocks that the base lacks");
        assert_eq!(written(), [piece(3, 4), piece(128, 130)]);
        pool.delete(&name("base")).expect("deleted");
        assert_eq!(written(), [piece(0, 256)], "without the base everything may be the snapshot's");
        drop(user);
        pool.destroy().expect("destroyed");
    }
}

#[test]
fn root_a_pool_is_not_stopped_under_a_volume_in_the_making() {
    let place = Place::new("making");
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("new"), Bytes::mib(16)).expect("a volume");
    let other = || Pool::open(&place.config).expect("opened");
    for stopped in [other().shut_down(), other().destroy()] {
        let error = stopped.expect_err("its maker lives");
        assert!(
            matches!(&error, Error::VolumeLocked { volume, .. } if *volume == name("new")),
            "{error}"
        );
    }
    let device = new.keep().expect("kept").device;
    fill(&device, Bytes(0), Bytes::mib(1), b'n').expect("its device is there");
    other().destroy().expect("destroyed");

    // A handle of a pool that was destroyed, while another pool of the same name exists.
    let anew = Pool::open(&place.config).expect("another pool");
    base(&anew, "new", b'a');
    anew.activate(&name("new")).expect("active");
    let before = (place.dm_devices(), place.thin_ids(), anew.volumes().expect("a list"));
    assert_eq!(pool.volume(&name("new")).expect("asked"), None);
    assert_eq!(pool.delete(&name("new")).expect("asked"), Deleted::NotThere);
    assert!(matches!(pool.activate(&name("new")), Err(Error::NoVolume { .. })));
    pool.deactivate(&name("new")).expect("it has none");
    let error = pool.create_volume(&name("x"), Bytes::mib(16)).expect_err("another pool");
    assert!(matches!(error, Error::ForeignDevice { .. }), "{error}");
    let after = (place.dm_devices(), place.thin_ids(), anew.volumes().expect("a list"));
    assert_eq!(after, before);
}

#[test]
fn root_volumes_are_made_and_activated_beside_a_growth() {
    let place = Place::new("beside");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for mib in 1..=40 {
                pool.grow(Some(Bytes::mib(128 + mib)), None).expect("grown");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for number in 0.. {
            let volume = name(&format!("v{number}"));
            pool.snapshot(&name("base"), &volume).expect("a snapshot").keep().expect("kept");
            pool.deactivate(&volume).expect("inactive");
            pool.activate(&volume).expect("active");
            pool.delete(&volume).expect("deleted");
            if done.load(std::sync::atomic::Ordering::Relaxed) {
                println!("{number} volumes beside 40 growths");
                break;
            }
        }
    });
}

#[test]
fn root_a_volume_in_use_names_its_users() {
    let place = Place::new("users");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let device = pool.activate(&name("base")).expect("active").device;
    let open = File::open(&device).expect("open");
    let above = format!("{}-above", place.device());
    let table = format!("0 2048 linear {} 0", device.display());
    run("dmsetup", &["create", &above, "--readonly", "--table", &table]);

    let busy = pool.delete(&name("base")).expect_err("it is in use");
    assert!(busy.to_string().contains("in use by somebody;"), "nobody has looked: {busy}");
    let busy = busy.naming_users();
    let Error::Busy { users, .. } = &busy else { panic!("{busy}") };
    let me =
        |user: &User| matches!(user, User::Open { process } if process.pid == std::process::id());
    assert!(users.found.iter().any(me), "{busy}");
    assert!(users.found.contains(&User::Device { name: above.clone() }), "{busy}");
    drop(open);
    let busy = pool.deactivate(&name("base")).expect_err("it is in use").naming_users();
    assert!(busy.to_string().contains(&format!("in use by the device {above};")), "{busy}");
    run("dmsetup", &["remove", &above]);
    assert_eq!(byte(&device, Bytes(0)), b'a');
    assert_eq!(pool.delete(&name("base")).expect("deleted"), Deleted::Deleted);
}

#[test]
fn root_a_volume_grows_and_never_shrinks() {
    let place = Place::new("grow");
    let pool = Pool::open(&place.config).expect("a pool");
    let volume = name("volume");
    let new = pool.create_volume(&volume, Bytes::mib(16)).expect("a volume");
    let device = new.keep().expect("kept").device;
    fill(&device, Bytes(0), Bytes::mib(1), b'v').expect("written");
    let open = File::options().write(true).open(&device).expect("open");
    let grown = pool.resize(&volume, Bytes(Bytes::mib(32).0 - 1)).expect("grown");
    assert_eq!((grown, size(&device)), (Bytes::mib(32), Bytes::mib(32).0), "active and open");
    drop(open);
    assert!(filled(&device, Bytes::mib(1), b'v'));
    fill(&device, Bytes::mib(31), Bytes::mib(1), b'w').expect("the new part takes writes");

    pool.deactivate(&volume).expect("inactive");
    pool.resize(&volume, Bytes::mib(48)).expect("grown");
    let device = pool.activate(&volume).expect("active").device;
    assert_eq!(size(&device), Bytes::mib(48).0, "inactive");
    assert_eq!(byte(&device, Bytes(Bytes::mib(32).0 - 1)), b'w');

    // The process was killed after it wrote the new size to the store, and before it resized the device.
    let store = Connection::open(place.config.state_dir.join("store.db")).expect("the store");
    store.execute("UPDATE volumes SET size = ?1", [Bytes::mib(64).0 as i64]).expect("changed");
    let device = pool.activate(&volume).expect("active").device;
    assert_eq!(size(&device), Bytes::mib(64).0, "cut short");

    let error = pool.resize(&volume, Bytes::mib(63)).expect_err("it would shrink");
    assert!(matches!(error, Error::ShrinkVolume { .. }), "{error}");
    assert_eq!(pool.resize(&volume, Bytes::mib(64)).expect("as it is"), Bytes::mib(64));
    assert!(matches!(pool.resize(&volume, Bytes(0)), Err(Error::Size { .. })));
    base(&pool, "base", b'a');
    let error = pool.resize(&name("base"), Bytes::mib(64)).expect_err("it is sealed");
    assert!(matches!(error, Error::Sealed { .. }), "{error}");
    assert!(matches!(pool.resize(&name("no"), Bytes::mib(1)), Err(Error::NoVolume { .. })));
    let snapshot = pool.snapshot(&volume, &name("snapshot")).expect("a snapshot");
    assert_eq!(snapshot.size(), Bytes::mib(64));
}

#[test]
fn root_deleted_space_returns_to_the_file_system_below() {
    let place = Place::new("space");
    let pool = Pool::open(&place.config).expect("a pool");
    let empty = taken(&place.data());
    base(&pool, "base", b'a');
    pool.activate(&name("base")).expect("active");
    let with_base = taken(&place.data());
    assert!(with_base >= empty + Bytes::mib(1).0, "{empty} and then {with_base}");

    for round in 0..3 {
        let new = pool.snapshot(&name("base"), &name("snap")).expect("a snapshot");
        let device = new.keep().expect("kept").device;
        fill(&device, Bytes::kib(64), Bytes::kib(128), b's').expect("written over the base's");
        fill(&device, Bytes::mib(4), Bytes::mib(6), b's').expect("written");
        assert!(taken(&place.data()) >= with_base + Bytes::mib(6).0, "round {round}");
        if round == 1 {
            pool.deactivate(&name("snap")).expect("inactive");
        }
        assert_eq!(pool.delete(&name("snap")).expect("deleted"), Deleted::Deleted);
        let now = taken(&place.data());
        assert!(now < with_base + Bytes::kib(64).0, "round {round}: {with_base} and then {now}");
    }
    let shown = pool.activate(&name("base")).expect("active").device;
    fs::write("/proc/sys/vm/drop_caches", "1").expect("dropped");
    assert!(filled(&shown, Bytes::mib(1), b'a'), "the base keeps what its snapshots shared");

    let new = pool.snapshot(&name("base"), &name("heir")).expect("a snapshot");
    let heir = new.keep().expect("kept").device;
    fill(&heir, Bytes::mib(8), Bytes::kib(64), b'h').expect("written");
    pool.delete(&name("base")).expect("a sealed, active volume is deleted");
    fs::write("/proc/sys/vm/drop_caches", "1").expect("dropped");
    assert!(filled(&heir, Bytes::mib(1), b'a'), "a snapshot keeps what it shared with its origin");
    pool.delete(&name("heir")).expect("deleted");
    let now = taken(&place.data());
    assert!(now < empty + Bytes::kib(64).0, "{empty} and then {now}");
    assert_eq!(pool.status().expect("a status").data.expect("figures").used, 0);
}

#[test]
fn root_after_the_last_thin_id_comes_the_lowest_free_one() {
    let place = Place::new("ids");
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let make = |volume: &str| {
        let new = pool.snapshot(&name("base"), &name(volume)).expect("a snapshot");
        let device = new.keep().expect("kept").device;
        fill(&device, Bytes::kib(512), Bytes::kib(64), volume.as_bytes()[0]).expect("written");
        let id = pool.volume(&name(volume)).expect("asked").expect("there").id.get();
        (id, device)
    };
    assert_eq!(make("one").0, 1);
    assert_eq!(make("two").0, 2);
    pool.delete(&name("one")).expect("deleted");
    let store = Connection::open(place.config.state_dir.join("store.db")).expect("the store");
    let last = ThinId::MAX.get();
    let placed = "INSERT INTO volumes SELECT pool, 'placed', ?1, size, NULL, phase, 0, 0, NULL FROM volumes WHERE name = 'two'";
    store.execute(placed, [last - 1]).expect("a row of the last id but one");

    let (id, device) = make("max");
    assert_eq!(id, last);
    assert_eq!((byte(&device, Bytes(0)), byte(&device, Bytes::kib(512))), (b'a', b'm'));
    assert_eq!(make("low").0, 1, "the lowest that is free");
    assert_eq!(make("next").0, 3);
    assert_eq!(place.thin_ids(), BTreeSet::from([0, 1, 2, 3, last]));
    pool.deactivate(&name("max")).expect("inactive");
    let device = pool.activate(&name("max")).expect("active").device;
    assert_eq!(byte(&device, Bytes::kib(512)), b'm');
    assert_eq!(pool.delete(&name("max")).expect("deleted"), Deleted::Deleted);
}

#[test]
fn root_an_origin_left_suspended_goes_on() {
    let place = Place::new("asleep");
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("origin"), Bytes::mib(16)).expect("a volume");
    let device = new.keep().expect("kept").device;
    // The process that took a snapshot of this volume was killed between suspend and resume.
    let store = Connection::open(place.config.state_dir.join("store.db")).expect("the store");
    let half = "INSERT INTO volumes SELECT pool, 'half', 1, size, name, 'creating', 0, 0, NULL FROM volumes";
    store.execute(half, []).expect("a row");
    run("dmsetup", &["suspend", &format!("{}-origin", place.device())]);
    drop(Pool::open(&place.config).expect("opened"));
    fill(&device, Bytes(0), Bytes::kib(64), b'o').expect("its I/O goes on");
    assert!(pool.reconcile(Reconcile::Apply).expect("reconciled").is_clean());
}
