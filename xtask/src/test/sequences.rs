//! Jobs with more than one guest, or with a command that boots guests itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::job::{Done, Out, Passes};
use super::program::{Needs, Program};
use crate::lab::{Boot, End, Guest, GuestOptions, Kernel, PROGRAM, SLOT};
use crate::process;

/// The number of sequences into which the power cuts are divided.
const PARTS: usize = 8;
/// The limit of one boot of a power-cut sequence.
const CUT_LIMIT: Duration = Duration::from_secs(120);
/// How many guests of a sequence may break by themselves.
const BROKEN: usize = 2;

/// A job that needs a slot for itself.
#[derive(Debug)]
pub enum Sequence {
    /// Boots on the same disks. Each boot checks what the last power cut left, and cuts the power at the next step.
    PowerCuts { part: usize },
    /// The same program in several guests, one after another, with one shared directory.
    Guests(Program),
    /// A command on this machine that boots guests itself.
    Command { name: &'static str, words: &'static [&'static str] },
}

impl Sequence {
    /// The sequences of a run, the longest first. Takes programs with several guests out of `programs`. A whole run has one
    /// sequence of power cuts, each day another one, unless it is long.
    pub fn all(programs: &mut Vec<Program>, whole: bool, long: bool) -> Vec<Self> {
        let mut all = Vec::new();
        if whole {
            // Every test of the validation suite that passed before must pass.
            let words = &[
                "hack/conformance",
                "--check",
                "--suite",
                "validation",
                "--runtime",
                "sharedroot",
            ];
            all.push(Self::Command { name: "conformance", words });
        }
        if programs.iter().any(|program| program.name == "root_crash") {
            let parts = if whole && !long { vec![part_of_the_day()] } else { (0..PARTS).collect() };
            all.extend(parts.into_iter().map(|part| Self::PowerCuts { part }));
        }
        if whole {
            // The ratios of hack/bench density must not be far beyond their targets.
            all.push(Self::Command { name: "density", words: &["hack/bench.d/density-check"] });
            let words = &["cargo", "test", "--quiet", "-p", "xtask", "--test", "lab"];
            all.push(Self::Command { name: "lab-ends", words });
        }
        while let Some(at) = programs.iter().position(|program| program.needs.len() > 1) {
            all.push(Self::Guests(programs.remove(at)));
        }
        all
    }

    /// The program that has several guests.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Guests(program) => Some(program),
            Self::PowerCuts { .. } | Self::Command { .. } => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::PowerCuts { part } => format!("power-cut.{part}of{PARTS}"),
            Self::Guests(program) => program.name.clone(),
            Self::Command { name, .. } => (*name).to_owned(),
        }
    }

    /// Runs the sequence to its end. `share` has the executables.
    pub fn run(&self, share: &Path, out: &Out, slot: usize) -> Result<Done> {
        let (name, started) = (self.name(), Instant::now());
        let mut guests = Guests::default();
        let fault = match self {
            Self::PowerCuts { part } => power_cuts(*part, share, out, slot, &mut guests)?,
            Self::Guests(program) => guests_of(program, share, out, slot, &mut guests)?,
            Self::Command { words, .. } => {
                let (ended, spent) = process::logged(
                    Command::new(words[0]).args(&words[1..]).env(SLOT, slot.to_string()),
                    &out.log(&name),
                )?;
                guests.spent = spent;
                (!ended.success()).then(|| ended.to_string())
            }
        };
        let log = out.read(&name).unwrap_or_default();
        let mut done = Done::new(&name, &log, fault, Passes::ByResults);
        (done.test, done.spent, done.broken) = (started.elapsed(), guests.spent, guests.broken);
        Ok(done)
    }
}

/// The sequence of power cuts of this day.
fn part_of_the_day() -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() / (24 * 60 * 60)) as usize % PARTS
}

/// The guests of a sequence.
#[derive(Debug, Default)]
struct Guests {
    /// The evidence that a guest's kernel broke, of each that did.
    broken: Vec<String>,
    /// How long all of them kept a processor.
    spent: Duration,
}

impl Guests {
    /// Whether one more guest of the sequence may break.
    fn may_break(&self) -> bool {
        self.broken.len() < BROKEN
    }
}

/// A directory for a sequence. It is kept if the sequence fails, because the disks are in it.
fn workplace(out: &Out, name: &str) -> Result<PathBuf> {
    let work = out.path().join(format!("{name}.work"));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    Ok(work)
}

fn power_cuts(
    part: usize,
    share: &Path,
    out: &Out,
    slot: usize,
    guests: &mut Guests,
) -> Result<Option<String>> {
    let name = &Sequence::PowerCuts { part }.name();
    let work = workplace(out, name)?;
    let (shared, disks) = (work.join("share"), work.join("disks"));
    fs::create_dir(&shared)?;
    fs::create_dir(&disks)?;
    fs::write(shared.join("part"), format!("{part}/{PARTS}\n"))?;
    let mut log = new_log(&out.log(name))?;
    // One of the sequences runs with the other kernel, where another one boots.
    let other = Kernel::working()?.into_iter().nth(1).filter(|_| part == 0);
    writeln!(log, "== kernel: {}", other.map_or("the guests'".to_owned(), |it| it.to_string()))?;
    let options =
        GuestOptions { no_docker: true, mem: 1, kernel: other, ..GuestOptions::default() };
    let script = share.join("root_crash");
    let words =
        ["--exact", "power_cut_at_every_step", "--ignored", "--nocapture"].map(str::to_owned);
    let (started, mut boots) = (Instant::now(), 0);
    let end = loop {
        boots += 1;
        let boot = Boot {
            options: &options,
            script: &script,
            arguments: &words,
            share: Some(&shared),
            disks: Some(&disks),
            docker_disk: None,
            program: None,
            limit: CUT_LIMIT,
            slot,
        };
        let (end, spent) = run_logged(&boot, &mut log)?;
        guests.spent += spent;
        match end {
            End::PowerCut => {}
            // The guest broke by itself. Its disks are as after one more power cut.
            End::Broken(why) if guests.may_break() => guests.broken.push(why),
            end => break end,
        }
    };
    writeln!(log, "== {boots} boots in {} s: {end:?}", started.elapsed().as_secs())?;
    if end == End::Status(0) {
        fs::remove_dir_all(&work)?;
        return Ok(None);
    }
    Ok(Some(format!("boot {boots} of {name}: {end:?}; the disks are kept: {}", work.display())))
}

/// Runs a program in its guests, one after another.
fn guests_of(
    program: &Program,
    share: &Path,
    out: &Out,
    slot: usize,
    guests: &mut Guests,
) -> Result<Option<String>> {
    let mut log = new_log(&out.log(&program.name))?;
    for (number, needs) in program.needs.iter().enumerate() {
        writeln!(log, "== guest {} of {}: {}", number + 1, program.needs.len(), needs.guest)?;
        let end = loop {
            let (end, spent) = once(needs, program, share, slot, &mut log)?;
            guests.spent += spent;
            match end {
                End::Broken(why) if guests.may_break() => guests.broken.push(why),
                end => break end,
            }
        };
        if end != End::Status(0) {
            return Ok(Some(format!("guest {}: {end:?}", number + 1)));
        }
    }
    Ok(None)
}

/// Runs a program once with `hack/in-lab`, in a guest of its own. Also returns the processors' time.
pub fn once(
    needs: &Needs,
    program: &Program,
    share: &Path,
    slot: usize,
    log: &mut File,
) -> Result<(End, Duration)> {
    let mut arguments = program.env.clone();
    arguments.push(program.file.clone());
    let boot = Boot {
        options: &needs.guest,
        script: Path::new("hack/in-lab"),
        arguments: &arguments,
        share: Some(share),
        disks: None,
        docker_disk: None,
        program: Some(Path::new(PROGRAM)),
        limit: needs.limit(),
        slot,
    };
    run_logged(&boot, log)
}

/// An empty log, opened to append. Two streams of a guest are copied to it, and splice(2) sets the file offset only when it
/// returns, so without O_APPEND one stream would overwrite the other.
pub fn new_log(path: &Path) -> Result<File> {
    let _ = fs::remove_file(path);
    let file = File::options().append(true).create_new(true).open(path);
    file.with_context(|| format!("create {}", path.display()))
}

/// Boots a guest whose output goes to a log. Also returns the processors' time.
fn run_logged(boot: &Boot<'_>, log: &mut File) -> Result<(End, Duration)> {
    let mut guest = Guest::boot(boot)?;
    let end = guest.relay(log.try_clone()?, log.try_clone()?)?;
    match &end {
        End::Status(0) | End::PowerCut => fs::remove_file(guest.log())?,
        end => writeln!(log, "== {end:?}; console of the guest: {}", guest.log().display())?,
    }
    Ok((end, guest.spent()))
}
