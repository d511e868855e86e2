//! Many processes use few names, and are killed at random, against a real kernel. `hack/test` runs this as root in the lab.
//!
//! Guest: --no-docker --takes 60

mod lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{Place, base, byte, fill, line, name};
use sharedroot_dm::{Bytes, Error, Phase, Pool, PoolConfig, Reconcile, VolumeName};

const PROCESSES: usize = 32;
/// Few names, so that the processes use the same names.
const NAMES: u64 = 12;
/// `hack/crash` does this and more for hours.
const LEAST: Duration = Duration::from_secs(20);
const MOST: Duration = Duration::from_secs(300);

/// Random numbers of xorshift64*. The same seed gives the same choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    std::env::var("CHURN_SEED").map_or_else(|_| now(), |seed| seed.parse().expect("a number")) | 1
}

#[test]
fn root_thirty_two_processes_with_kills_leave_nothing_behind() {
    let place = Place::new("churn");
    let seed = seed();
    println!("CHURN_SEED={seed}");
    let mut dice = Dice(seed);
    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let new = pool.create_volume(&name("origin"), Bytes::mib(16)).expect("a volume");
    fill(&new.keep().expect("kept").device, Bytes(0), Bytes::mib(1), b'o').expect("filled");

    let start = |dice: &mut Dice| place.child(&format!("churn {}", dice.roll(u64::MAX) | 1));
    let mut children: Vec<_> = (0..PROCESSES).map(|_| start(&mut dice)).collect();
    let (begin, mut kills) = (Instant::now(), 0);
    // A busy machine needs more time.
    let done = || fs::metadata(operations(&place.config)).map_or(0, |file| file.len());
    while begin.elapsed() < LEAST || (kills <= 60 || done() <= 300) && begin.elapsed() < MOST {
        std::thread::sleep(Duration::from_millis(20 + dice.roll(300)));
        let victim = &mut children[dice.roll(PROCESSES as u64) as usize];
        if victim.try_wait().expect("asked").is_some() {
            panic!("a process ended by itself: {}", last_words(victim));
        }
        victim.kill().expect("killed");
        victim.wait().expect("dead");
        kills += 1;
        *victim = start(&mut dice);
    }
    let stop = place.config.run_dir.join("stop");
    fs::write(&stop, "").expect("a file");
    for mut child in children {
        line(&mut child);
        let ended = child.wait().expect("ended");
        assert!(ended.success(), "{ended}: {}", last_words(&mut child));
    }
    let done = done();
    println!("{kills} kills, {done} operations");
    assert!(kills > 60 && done > 300, "too little to prove anything");

    let pool = Pool::open(&place.config).expect("opened");
    let report = pool.reconcile(Reconcile::Apply).expect("reconciled");
    println!("reconcile: {report}");
    assert!(report.failed.is_empty() && report.lost.is_empty() && report.waiting.is_empty());
    assert!(report.stray_ids.is_empty() && report.stray_devices.is_empty(), "a leak: {report}");
    agree(&place, &pool);
    let shown = pool.activate(&name("base")).expect("active").device;
    assert_eq!(byte(&shown, Bytes::kib(1000)), b'a');

    for volume in pool.volumes().expect("a list") {
        pool.delete(&volume.name).expect("deleted");
    }
    agree(&place, &pool);
    let data = pool.status().expect("a status").data.expect("figures");
    assert_eq!(data.used, 0, "every block is back");
}

/// Checks that store, pool and kernel have the same volumes.
fn agree(place: &Place, pool: &Pool) {
    let volumes = pool.volumes().expect("a list");
    assert!(volumes.iter().all(|volume| volume.phase == Phase::Ready), "{volumes:?}");
    let ids: BTreeSet<u32> = volumes.iter().map(|volume| volume.id.get()).collect();
    assert_eq!(place.thin_ids(), ids);
    let active = volumes.iter().filter(|volume| volume.active);
    let mut devices: BTreeSet<_> =
        active.map(|volume| pool.name().device_of(&volume.name)).collect();
    devices.insert(place.device());
    assert_eq!(BTreeSet::from_iter(place.dm_devices()), devices);
}

/// A file with one byte for each completed operation.
fn operations(config: &PoolConfig) -> PathBuf {
    config.run_dir.join("operations")
}

fn last_words(child: &mut Child) -> String {
    let mut words = String::new();
    for pipe in [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
    ] {
        let _ = pipe.expect("a pipe").read_to_string(&mut words);
    }
    words
}

/// The processes that the test above starts.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let (config, act) = Place::of_child();
    let seed = act.strip_prefix("churn ").expect("the only act").parse().expect("a seed");
    let mut dice = Dice(seed);
    let mut operations =
        File::options().create(true).append(true).open(operations(&config)).expect("a file");
    while !config.run_dir.join("stop").exists() {
        // Each process of the runtime opens the pool, so this one does, too.
        let pool = Pool::open(&config).expect("the pool");
        for _ in 0..4 {
            let volume = name(&format!("v{}", dice.roll(NAMES)));
            let did = act_at_random(&pool, &volume, &mut dice);
            did.or_else(expected).unwrap_or_else(|error| panic!("{volume}: {error:?}"));
            operations.write_all(b".").expect("counted");
        }
    }
    println!("child: stopped");
}

fn act_at_random(pool: &Pool, volume: &VolumeName, dice: &mut Dice) -> Result<(), Error> {
    match dice.roll(12) {
        0..3 => {
            let new = pool.snapshot(&name("base"), volume)?;
            // Gives the volume exclusive blocks. A write may fail in a full pool, which is no failure of this test.
            let _ = fill(new.device(), Bytes::kib(64 * dice.roll(32)), Bytes::kib(64), b's');
            new.keep().map(drop)
        }
        3 => pool.snapshot(&name("origin"), volume)?.keep().map(drop),
        4 => pool.create_volume(volume, Bytes::mib(1 + dice.roll(16)))?.keep().map(drop),
        5 => pool.create_volume(volume, Bytes::mib(4))?.seal(),
        6 => {
            drop(pool.snapshot(&name("base"), volume)?);
            Ok(())
        }
        7 => pool.activate(volume).map(drop),
        8 => pool.deactivate(volume),
        9 => pool.resize(volume, Bytes::mib(1 + dice.roll(32))).map(drop),
        10 => pool.delete_when_idle(volume, None).map(drop),
        _ => pool.delete(volume).map(drop),
    }
}

/// Errors that are expected when many processes use the same names.
fn expected(error: Error) -> Result<(), Error> {
    match error {
        Error::Exists { .. }
        | Error::NoVolume { .. }
        | Error::VolumeLocked { .. }
        | Error::Unfinished { .. }
        | Error::Busy { .. }
        | Error::Sealed { .. }
        | Error::ShrinkVolume { .. } => Ok(()),
        fault => Err(fault),
    }
}
