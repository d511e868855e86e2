//! One guest that runs programs one after another.
//!
//! `hack/in-lab` runs in the guest. It asks for a program by a marked line in its output, reads the answer from a file in
//! `/lab`, and reports the program's end by another marked line. Between two programs it removes what the first program has
//! left.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::job::{Done, Out, Passes};
use super::program::Program;
use super::work::Kind;
use crate::lab::{Boot, End, Guest, PROGRAM, warn_after};

/// The limit for the boot and the start of the daemons, which take some seconds.
const TO_BOOT: Duration = Duration::from_secs(300);
/// How often a guest's state is checked.
const LOOK: Duration = Duration::from_millis(50);
/// How often a program is tried while its guests' kernels break.
const TRIES: usize = 2;

/// A message of a guest.
enum Said {
    /// The guest has nothing to do.
    Free,
    /// The program ended with this status.
    Ended(String),
    /// Output for the program's log.
    Text(Vec<u8>),
}

/// How the run of one program ended.
enum Turn {
    Ended(String),
    Guest(End),
}

/// Boots a guest of this kind, and makes it run programs until none is left. `tell` gets each job that has ended.
pub fn serve(kind: &Kind, share: &Path, out: &Out, slot: usize, tell: &dyn Fn(Done)) -> Result<()> {
    let mut session = Session::boot(kind, share, slot)?;
    let mut before = None::<Program>;
    loop {
        if let Some(end) = session.until_free()? {
            tell(session.lost(kind, before.as_ref(), &end));
            return Ok(());
        }
        let Some(program) = kind.take() else { return session.end() };
        let fault = match session.run(&program, out)? {
            Turn::Ended(status) => (status != "0").then(|| format!("exit code {status}")),
            Turn::Guest(End::Broken(why)) => return session.broke(program, why, kind, out, tell),
            Turn::Guest(End::Limit) => Some(format!(
                "no end within {} s, and the guest's kernel is well: see {}",
                program.needs[0].limit().as_secs(),
                session.guest.log().display()
            )),
            Turn::Guest(end) => Some(format!("the guest ended early: {end:?}")),
        };
        let is_well = fault.is_none();
        let log = out.read(&program.name).unwrap_or_default();
        if !is_well {
            print!("{log}");
        }
        let mut done = Done::new(&program.name, &log, fault, Passes::ByResults);
        done.boot = std::mem::take(&mut session.boot);
        done.test = session.started.elapsed();
        done.spent = session.spent_since();
        done.broken.clone_from(&program.broken);
        tell(done);
        // A failed test may have left anything, and a test with `--alone` does not share its guest.
        if kind.alone || !is_well {
            return Ok(());
        }
        before = Some(program);
    }
}

struct Session {
    guest: Guest,
    said: Receiver<Said>,
    mark: String,
    turn: u32,
    /// How long the boot took; taken by the first job.
    boot: Duration,
    started: Instant,
    /// The processors' time of the jobs that have ended.
    spent: Duration,
}

impl Session {
    fn boot(kind: &Kind, share: &Path, slot: usize) -> Result<Self> {
        let started = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mark = format!("in-lab-{now:x}");
        let mut guest = Guest::boot(&Boot {
            options: &kind.options,
            script: Path::new("hack/in-lab"),
            arguments: std::slice::from_ref(&mark),
            share: Some(share),
            disks: None,
            docker_disk: None,
            program: Some(Path::new(PROGRAM)),
            limit: TO_BOOT,
            slot,
        })?;
        let (stdout, stderr) = guest.streams().context("the guest's streams")?;
        let (tell, said) = channel();
        let (also, own) = (tell.clone(), format!("{mark} "));
        std::thread::spawn(move || relay(BufReader::new(stdout), &own, &tell));
        std::thread::spawn(move || relay(BufReader::new(stderr), "", &also));
        Ok(Self {
            guest,
            said,
            mark,
            turn: 0,
            boot: Duration::ZERO,
            started,
            spent: Duration::ZERO,
        })
    }

    /// Waits until the guest asks for a program. Returns the guest's end if the guest ends first.
    fn until_free(&mut self) -> Result<Option<End>> {
        let mut text = Vec::new();
        let end = loop {
            match self.said.recv_timeout(LOOK) {
                Ok(Said::Free) => {
                    if self.turn == 0 {
                        self.boot = self.started.elapsed();
                    }
                    return Ok(None);
                }
                Ok(Said::Text(line)) => text.extend(line),
                Ok(Said::Ended(_)) | Err(_) => {}
            }
            if let Some(end) = self.guest.look()? {
                break end;
            }
        };
        eprint!("{}", String::from_utf8_lossy(&text));
        Ok(Some(end))
    }

    fn run(&mut self, program: &Program, out: &Out) -> Result<Turn> {
        self.started = Instant::now();
        self.turn += 1;
        let limit = program.needs[0].limit();
        self.guest.extend(limit);
        let mut log = File::create(out.log(&program.name))?;
        let words = [warn_after(limit).as_secs().to_string(), program.file.clone()];
        let words: String =
            words.iter().chain(&program.env).map(|word| format!("{word}\0")).collect();
        self.hand(&words)?;
        loop {
            match self.said.recv_timeout(LOOK) {
                Ok(Said::Text(line)) => log.write_all(&line)?,
                Ok(Said::Ended(status)) => return Ok(Turn::Ended(status)),
                Ok(Said::Free) => return Ok(Turn::Ended("a program was lost".to_owned())),
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(end) = self.guest.look()? {
                while let Ok(Said::Text(line)) = self.said.recv_timeout(LOOK) {
                    log.write_all(&line)?;
                }
                writeln!(log, "{}: {end:?}; console: {}", self.mark, self.guest.log().display())?;
                return Ok(Turn::Guest(end));
            }
        }
    }

    /// The processors' time since the last call, or since the boot.
    fn spent_since(&mut self) -> Duration {
        let spent = self.guest.spent();
        spent.saturating_sub(std::mem::replace(&mut self.spent, spent))
    }

    /// Writes the answer to the file that the guest reads. The file is renamed into place, so the guest never reads a part of
    /// it.
    fn hand(&self, words: &str) -> Result<()> {
        let (lab, turn) = (self.guest.lab(), self.turn);
        fs::write(lab.join(format!("next-{turn}.new")), words)?;
        Ok(fs::rename(lab.join(format!("next-{turn}.new")), lab.join(format!("next-{turn}")))?)
    }

    /// Handles the end of a guest while no program runs in it.
    fn lost(&self, kind: &Kind, before: Option<&Program>, end: &End) -> Done {
        let name = match before {
            Some(program) => format!("what {} left", program.name),
            None => format!("a guest with {}", kind.options),
        };
        Done::new(
            &name,
            "",
            Some(format!("{end:?}; console: {}", self.guest.log().display())),
            Passes::ByExitCode,
        )
    }

    /// Gives a program whose guest's kernel broke to another guest, once.
    fn broke(
        &mut self,
        mut program: Program,
        why: String,
        kind: &Kind,
        out: &Out,
        tell: &dyn Fn(Done),
    ) -> Result<()> {
        println!("== {}: THE GUEST BROKE: {why}; {}", program.name, self.guest.log().display());
        let fault = format!("the guest broke: {why}");
        program.broken.push(why);
        if program.broken.len() < TRIES {
            out.keep_broken(&program.name)?;
            kind.give_back(program);
            return Ok(());
        }
        let log = out.read(&program.name).unwrap_or_default();
        let mut done = Done::new(&program.name, &log, Some(fault), Passes::ByResults);
        done.broken = program.broken;
        done.test = self.started.elapsed();
        tell(done);
        Ok(())
    }

    /// Gives an empty answer, after which the guest powers off.
    fn end(mut self) -> Result<()> {
        self.turn += 1;
        self.guest.extend(TO_BOOT);
        self.hand("")?;
        let end = self.guest.wait()?;
        if end == End::Status(0) {
            fs::remove_file(self.guest.log())?;
        } else {
            println!("== a guest did not power off well: {end:?}; {}", self.guest.log().display());
        }
        Ok(())
    }
}

/// Sends the guest's output on, line by line. The lines of `hack/in-lab` begin with `mark`.
fn relay(mut from: impl BufRead, mark: &str, tell: &Sender<Said>) {
    loop {
        let mut line = Vec::new();
        if !matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
            return;
        }
        let words = (!mark.is_empty()).then(|| line.strip_prefix(mark.as_bytes())).flatten();
        let said = match words.map(|words| String::from_utf8_lossy(words).trim().to_owned()) {
            None => Said::Text(line),
            Some(words) => match words.split_once(' ') {
                Some(("end", status)) => Said::Ended(status.to_owned()),
                _ => Said::Free,
            },
        };
        if tell.send(said).is_err() {
            return;
        }
    }
}
