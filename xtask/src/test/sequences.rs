//! Jobs of more than one guest, or with a runner of their own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::job::{Done, Out};
use super::program::{Needs, Program};
use crate::lab::{Boot, End, Guest, GuestOptions, Kernel, PROGRAM, SLOT};
use crate::process;

/// The power cuts' boots are dealt to so many sequences.
const PARTS: usize = 4;
/// Of one boot of theirs.
const CUT_LIMIT: Duration = Duration::from_secs(120);
/// So many guests of a sequence may break by themselves.
const BROKEN: usize = 2;

/// A job that takes a slot for itself.
#[derive(Debug)]
pub enum Sequence {
    /// Boots on the same disks; each proves what the last power cut left, and cuts at its next step.
    PowerCuts { part: usize },
    /// The same program in several guests, which share a directory of its own.
    Guests(Program),
    /// A command of this machine that boots guests itself.
    Command { name: &'static str, words: &'static [&'static str] },
}

impl Sequence {
    /// Those of a whole run, the longest first. The programs of several guests are taken out of `programs`.
    pub fn all(programs: &mut Vec<Program>, whole: bool) -> Vec<Self> {
        let mut all = Vec::new();
        if whole {
            // Whatever the validation suite has passed once it passes again.
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
            all.extend((0..PARTS).map(|part| Self::PowerCuts { part }));
        }
        if whole {
            // The ratios of hack/bench density are not far beyond their targets.
            all.push(Self::Command { name: "density", words: &["hack/bench.d/density-check"] });
            let words = &["cargo", "test", "--quiet", "-p", "xtask", "--test", "lab"];
            all.push(Self::Command { name: "lab-ends", words });
        }
        while let Some(at) = programs.iter().position(|program| program.needs.len() > 1) {
            all.push(Self::Guests(programs.remove(at)));
        }
        all
    }

    pub fn name(&self) -> String {
        match self {
            Self::PowerCuts { part } => format!("power-cut.{part}of{PARTS}"),
            Self::Guests(program) => program.name.clone(),
            Self::Command { name, .. } => (*name).to_owned(),
        }
    }

    /// Runs it to its end. `share` has the executables.
    pub fn run(&self, share: &Path, out: &Out, slot: usize) -> Result<Done> {
        let (name, started) = (self.name(), Instant::now());
        let mut broken = Vec::new();
        let fault = match self {
            Self::PowerCuts { part } => power_cuts(*part, share, out, slot, &mut broken)?,
            Self::Guests(program) => guests(program, share, out, slot, &mut broken)?,
            Self::Command { words, .. } => {
                let ended = process::logged(
                    Command::new(words[0]).args(&words[1..]).env(SLOT, slot.to_string()),
                    &out.log(&name),
                )?;
                (!ended.success()).then(|| ended.to_string())
            }
        };
        let log = out.read(&name).unwrap_or_default();
        let mut done = Done::new(&name, &log, fault, true);
        done.test = started.elapsed();
        done.broken = broken;
        Ok(done)
    }
}

/// A directory in which a sequence works. It stays where the sequence failed: it has the disks.
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
    broken: &mut Vec<String>,
) -> Result<Option<String>> {
    let name = &Sequence::PowerCuts { part }.name();
    let work = workplace(out, name)?;
    let (shared, disks) = (work.join("share"), work.join("disks"));
    fs::create_dir(&shared)?;
    fs::create_dir(&disks)?;
    fs::write(shared.join("part"), format!("{part}/{PARTS}\n"))?;
    let mut log = new_log(&out.log(name))?;
    let options = GuestOptions {
        no_docker: true,
        mem: 1,
        // What holds with one kernel holds with the other.
        kernel: (part == 0).then_some(Kernel::Ptrace),
        ..GuestOptions::default()
    };
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
        match run_logged(&boot, &mut log)? {
            End::PowerCut => {}
            // The disks are as after one more cut.
            End::Broken(why) if broken.len() < BROKEN => broken.push(why),
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

/// The program's guests one after another.
fn guests(
    program: &Program,
    share: &Path,
    out: &Out,
    slot: usize,
    broken: &mut Vec<String>,
) -> Result<Option<String>> {
    let work = workplace(out, &program.name)?;
    fs::copy(share.join(&program.file), work.join(&program.file))?;
    let mut log = new_log(&out.log(&program.name))?;
    for (number, needs) in program.needs.iter().enumerate() {
        writeln!(log, "== guest {} of {}: {}", number + 1, program.needs.len(), needs.guest)?;
        let end = loop {
            match once(needs, program, &work, slot, &mut log)? {
                End::Broken(why) if broken.len() < BROKEN => broken.push(why),
                end => break end,
            }
        };
        if end != End::Status(0) {
            return Ok(Some(format!("guest {}: {end:?}", number + 1)));
        }
    }
    fs::remove_dir_all(&work)?;
    Ok(None)
}

/// A program in a guest of its own, which `hack/in-lab` runs once.
pub fn once(
    needs: &Needs,
    program: &Program,
    share: &Path,
    slot: usize,
    log: &mut File,
) -> Result<End> {
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

/// An empty log to append to: two streams of a guest are relayed to it, and the place of the next byte must not depend on which
/// of them began to wait first (splice(2) sets it when it returns).
pub fn new_log(path: &Path) -> Result<File> {
    let _ = fs::remove_file(path);
    let file = File::options().append(true).create_new(true).open(path);
    file.with_context(|| format!("create {}", path.display()))
}

/// Boots a guest whose streams go to a log.
fn run_logged(boot: &Boot<'_>, log: &mut File) -> Result<End> {
    let mut guest = Guest::boot(boot)?;
    let end = guest.relay(log.try_clone()?, log.try_clone()?)?;
    match &end {
        End::Status(0) | End::PowerCut => fs::remove_file(guest.log())?,
        end => writeln!(log, "== {end:?}; console of the guest: {}", guest.log().display())?,
    }
    Ok(end)
}
