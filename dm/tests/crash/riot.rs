//! Several processes at work, killed, cut off or lied to at random; then what they said they had done must be there, what they
//! were at may be, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use sharedroot_dm::{Phase, Pool, Reconcile};

use crate::crash::census;
use crate::crash::flakey::Flakey;
use crate::crash::power::{cut, tell_host, told};
use crate::crash::random::Chance;
use crate::crash::site::{Failed, Running, Site, chain, say};
use crate::crash::story::{check_content, volume};
use crate::crash::worker::{self, BASE, mount_point};

const WORKERS: [&str; 3] = ["a", "b", "c"];

/// What the workers said of their volumes: true for there, none for a change that was not said to be done.
type Said = BTreeMap<String, Option<bool>>;

/// What the workers said, and the volumes of which they said it, one after another.
#[derive(Default)]
struct Heard {
    said: Said,
    of: Vec<String>,
}

/// One boot: what the last one left, then rounds until `seconds` are over, then perhaps a power cut.
pub(crate) fn boot(disk: &Path) -> Result<(), Failed> {
    let order = told("order")?;
    let mut words = order.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(seed)), Some(Ok(boot)), Some(Ok(seconds))) =
        (words.next(), words.next(), words.next())
    else {
        return Err(format!("order is {order:?}, not SEED BOOT SECONDS").into());
    };
    // Each boot is to be told from the seed alone, whatever the boots before it came to.
    let mut chance = Chance::new(Chance::new(seed).number().wrapping_add(boot));
    let (site, end) = (Site::new("riot", disk), Instant::now() + Duration::from_secs(seconds));
    let mut said = Said::new();
    if Path::new("said").exists() {
        said = parse(&told("said")?)?;
        verify(&site, &mut said)
            .map_err(|error| format!("boot {boot}, after the power cut: {error}"))?;
        say(&format!("boot {boot}: after the power cut: {} volumes, sound", there(&said).count()));
    }
    for round in 0.. {
        let what = format!("boot {boot} round {round}");
        let failed = |error: Failed| Failed::from(format!("{what}: {}", chain(error.as_ref())));
        let delay = Duration::from_millis(20 + chance.below(1500));
        if Instant::now() >= end {
            if chance.below(4) == 0 {
                let _ = fs::remove_file("said");
                tell_host("said", &text(&said)).map_err(failed)?;
                say(&format!("{what}: ends in peace"));
                return Ok(());
            }
            let riot = Riot::begin(&site, &mut chance, &said).map_err(failed)?;
            let riot = riot.cut_after(delay).map_err(failed)?;
            tell_host("said", &text(&riot)).map_err(failed)?;
            say(&format!("{what}: cutting the power after {delay:?}"));
            cut();
        }
        if chance.below(4) == 0 {
            lies(&mut chance, delay)
                .map_err(|error| failed(format!("writes lost after {delay:?}: {error}").into()))?;
            say(&format!("{what}: all writes lost after {delay:?}, sound"));
            continue;
        }
        said = Riot::begin(&site, &mut chance, &said)
            .and_then(|riot| riot.killed_after(delay))
            .map_err(failed)?;
        let again = chance.below(4);
        for _ in 0..again {
            kill_recovery(&site, chance.below(8)).map_err(failed)?;
        }
        verify(&site, &mut said).map_err(failed)?;
        let count = there(&said).count();
        say(&format!(
            "{what}: killed after {delay:?}, {again} recoveries killed, {count} volumes, sound"
        ));
    }
    Ok(())
}

/// A round on a disk of its own that loses its writes at some moment.
fn lies(chance: &mut Chance, delay: Duration) -> Result<(), Failed> {
    let disk = Flakey::new(0)?;
    let site = disk.fresh()?;
    let riot = Riot::begin(&site, chance, &Said::new())?;
    let mut said = riot.lied_to_after(delay, &disk)?;
    unmount(&site);
    disk.restart(&site)?;
    verify(&site, &mut said)?;
    disk.end(&site)
}

/// A process that only recovers, killed at a step of the recovery if that has so many.
fn kill_recovery(site: &Site, step: u64) -> Result<(), Failed> {
    unmount(site);
    let mut child = site.child("child_recovery", &[("SHAREDROOT_HOLD_AT", &step.to_string())]);
    while let Some(line) = child.line() {
        if line.starts_with("held ") {
            child.kill();
            return Ok(());
        }
    }
    child.end()
}

/// Workers at work.
struct Riot {
    workers: Vec<Running>,
    said: Said,
}

impl Riot {
    fn begin(site: &Site, chance: &mut Chance, said: &Said) -> Result<Self, Failed> {
        worker::make_base(site)?;
        let mut said = said.clone();
        let workers = WORKERS.map(|name| {
            let mine = worker::names(name);
            for volume in &mine {
                said.entry(volume.clone()).or_insert(Some(false));
            }
            let have =
                mine.into_iter().filter(|volume| said[volume] == Some(true)).collect::<Vec<_>>();
            let seed = chance.number().to_string();
            let settings =
                [("TEST_WORKER", name), ("TEST_SEED", &seed), ("TEST_HAVE", &have.join(" "))];
            site.child("child_riot", &settings)
        });
        Ok(Self { workers: workers.into(), said })
    }

    /// Lets the workers work, does something at the end of `delay`, which is given what was heard until then, and kills them.
    /// Returns what it returned, and what was heard until their ends: all that they said.
    fn during<T>(
        &mut self,
        delay: Duration,
        act: impl FnOnce(&Mutex<Heard>, &[i32]) -> Result<T, Failed>,
    ) -> Result<(T, Heard), Failed> {
        let groups: Vec<_> = self.workers.iter().map(Running::group).collect();
        let heard = Mutex::new(Heard { said: std::mem::take(&mut self.said), of: Vec::new() });
        let result = std::thread::scope(|scope| {
            for worker in &mut self.workers {
                let heard = &heard;
                scope.spawn(move || {
                    while let Some(line) = worker.line() {
                        hear(&mut heard.lock().expect("not poisoned"), &line);
                    }
                });
            }
            std::thread::sleep(delay);
            let result = act(&heard, &groups);
            groups.iter().for_each(|group| signal(*group, nix::sys::signal::Signal::SIGKILL));
            result
        });
        result.map(|result| (result, heard.into_inner().expect("not poisoned")))
    }

    /// The workers, all dead. One that has ended by itself has failed, and says why.
    fn buried(self, may_fail: bool) -> Result<(), Failed> {
        for worker in self.workers {
            if let Some(why) = worker.reap()?
                && !may_fail
            {
                return Err(format!("a worker failed by itself: {why}").into());
            }
        }
        Ok(())
    }

    fn killed_after(mut self, delay: Duration) -> Result<Said, Failed> {
        let ((), heard) = self.during(delay, |_, _| Ok(()))?;
        self.buried(false).map(|()| heard.said)
    }

    /// What was said before the disk began to lie holds; what was begun about then may or may not have happened.
    fn lied_to_after(mut self, delay: Duration, disk: &Flakey) -> Result<Said, Failed> {
        let ((mut held, before), heard) = self.during(delay, |heard, _| {
            let held = {
                let heard = heard.lock().expect("not poisoned");
                (heard.said.clone(), heard.of.len())
            };
            disk.lose()?;
            // Some work on a disk that lies.
            std::thread::sleep(Duration::from_millis(100));
            Ok(held)
        })?;
        // Of what was heard later nobody knows whether it was said before.
        for name in &heard.of[before..] {
            held.insert(name.clone(), None);
        }
        self.buried(true).map(|()| held)
    }

    /// The workers stand still, and are gone, before what they said is written down: nothing happens that is not known after
    /// the boot.
    fn cut_after(mut self, delay: Duration) -> Result<Said, Failed> {
        let stop = |_: &Mutex<Heard>, groups: &[i32]| {
            groups.iter().for_each(|group| signal(*group, nix::sys::signal::Signal::SIGSTOP));
            Ok(())
        };
        self.during(delay, stop).map(|((), heard)| heard.said)
    }
}

fn signal(group: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), signal);
}

fn hear(heard: &mut Heard, line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    let word = match words[..] {
        ["will", ..] => None,
        ["did", "make", _] => Some(true),
        ["did", "delete", _] | ["not", "make", _] => Some(false),
        _ => return,
    };
    heard.said.insert(words[2].to_owned(), word);
    heard.of.push(words[2].to_owned());
}

fn there(said: &Said) -> impl Iterator<Item = &String> {
    said.iter().filter(|(_, word)| **word == Some(true)).map(|(name, _)| name)
}

fn text(said: &Said) -> String {
    said.iter().map(|(name, word)| format!("{name} {word:?}\n")).collect()
}

fn parse(text: &str) -> Result<Said, Failed> {
    let word = |word: &str| match word {
        "Some(true)" => Some(true),
        "Some(false)" => Some(false),
        _ => None,
    };
    let line = |line: &str| line.split_once(' ').map(|(name, said)| (name.to_owned(), word(said)));
    text.lines()
        .map(|text| line(text).ok_or_else(|| format!("{text:?} is no word").into()))
        .collect()
}

fn unmount(site: &Site) {
    for name in WORKERS {
        while umount2(&mount_point(site, name), MntFlags::empty()).is_ok() {}
    }
}

/// The next command, and then everything must agree with what was said. What was open is settled in `said`.
fn verify(site: &Site, said: &mut Said) -> Result<(), Failed> {
    unmount(site);
    let pool = Pool::open(&site.config)?;
    let report = pool.reconcile(Reconcile::Apply)?;
    if !report.failed.is_empty() {
        return Err(format!("reconcile: {report}").into());
    }
    let again = pool.reconcile(Reconcile::DryRun)?;
    if !again.is_clean() {
        return Err(format!("a second reconcile still finds: {again}").into());
    }
    let volumes = pool.volumes()?;
    for volume in &volumes {
        let name = volume.name.to_string();
        if volume.phase != Phase::Ready
            || (name != BASE && said.get(&name).is_none_or(|word| *word == Some(false)))
        {
            return Err(format!(
                "a volume that nobody has made or somebody has deleted: {volume:?}"
            )
            .into());
        }
    }
    for (name, word) in said.iter_mut() {
        let found = volumes.iter().any(|volume| volume.name.to_string() == *name);
        if *word == Some(true) && !found {
            return Err(format!("{name} was made, and is not there").into());
        }
        *word = Some(found);
    }
    for found in &volumes {
        let (name, was) = (&found.name, found.active);
        let device = pool.activate(name)?.device;
        check_content(site, &device, name != &volume(BASE))
            .map_err(|error| format!("{name}: {error}"))?;
        if !was {
            pool.deactivate(name)?;
        }
    }
    let active = volumes.iter().filter(|volume| volume.active).count();
    let (devices, loops) = (site.dm_names()?, site.loops()?);
    if devices.len() != active + 1 || loops.len() != 2 {
        return Err(
            format!("{active} active volumes and a pool, but {devices:?} and {loops:?}").into()
        );
    }
    pool.shut_down()?;

    let mut left = Vec::new();
    census::kernel(site, "stopped", &mut left)?;
    if !left.is_empty() {
        return Err(format!("left after a shutdown: {left:?}").into());
    }
    let ids = census::metadata(site)?.len() - 1;
    if ids != volumes.len() {
        return Err(format!("{ids} thin ids, {} volumes", volumes.len()).into());
    }
    Ok(())
}
