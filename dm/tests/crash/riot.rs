//! Several processes work, and at random moments they are killed, lose their power or their writes. After that, every change
//! that a process reported as done must exist. A change that a process had begun may exist. Nothing else may exist.

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

/// What the workers reported of their volumes: true if a volume exists, `None` if a change was begun and not reported as done.
type Said = BTreeMap<String, Option<bool>>;

/// What the workers reported, and the volumes of each report in their order.
#[derive(Default)]
struct Heard {
    said: Said,
    of: Vec<String>,
}

/// One boot: checks what the last boot left, runs rounds until `seconds` are over, and then perhaps cuts the power.
pub(crate) fn boot(disk: &Path) -> Result<(), Failed> {
    let order = told("order")?;
    let mut words = order.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(seed)), Some(Ok(boot)), Some(Ok(seconds))) =
        (words.next(), words.next(), words.next())
    else {
        return Err(format!("order is {order:?}, not SEED BOOT SECONDS").into());
    };
    // Each boot must depend on the seed alone, and not on the boots before.
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

/// A round on a disk of its own that loses its writes from some moment on.
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

/// Starts a process that only recovers, and kills it at a step of the recovery, if the recovery has so many steps.
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

    /// Lets the workers work for `delay`, then calls `act` with their reports until then, and kills the workers. Returns what
    /// `act` returned, and all reports of the workers.
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

    /// Waits for the end of the workers. A worker that has ended by itself has failed, and its error is returned.
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

    /// What was reported before the disk lost writes must exist. A change that was begun about then may exist.
    fn lied_to_after(mut self, delay: Duration, disk: &Flakey) -> Result<Said, Failed> {
        let ((mut held, before), heard) = self.during(delay, |heard, _| {
            let held = {
                let heard = heard.lock().expect("not poisoned");
                (heard.said.clone(), heard.of.len())
            };
            disk.lose()?;
            // Let the workers work for a while on a disk that loses writes.
            std::thread::sleep(Duration::from_millis(100));
            Ok(held)
        })?;
        // A later report may have been written before the disk lost writes, or after that.
        for name in &heard.of[before..] {
            held.insert(name.clone(), None);
        }
        self.buried(true).map(|()| held)
    }

    /// Stops the workers, and kills them, before their reports are written to the host. So nothing happens that is not known
    /// after the boot.
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

/// Runs the next command, and then checks everything against the reports. `said` gets the result of changes that were only
/// begun.
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
