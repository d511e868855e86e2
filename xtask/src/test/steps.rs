//! The steps of a run, in order.
//!
//! The lab is built while the programs are compiled. Then the guests run. Meanwhile lints, unit tests and packages, which need
//! no guest, run on this machine.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::compile;
use super::job::{Done, Out, Passes};
use super::memory;
use super::options::{Compile, One, Options};
use super::program::{self, Asked, Program};
use super::report::Report;
use super::sequences::{self, Sequence};
use super::served;
use super::step::Step;
use super::work::{Next, Work};
use crate::lab::{End, Kernel};

const OUT: &str = "target/test";
/// The directory of the executables and the extra files. In the guests it is `/share`.
const SHARE: &str = "target/test/share";
/// The host's memory that a guest and its disks need, in GiB.
const GUEST_GIB: u64 = 5;

/// The steps without a guest. The integration tests of `shim/tests` need no guest either.
const HERE: [Step; 8] = [
    Step::new("format", "cargo fmt --all --check"),
    // Only the crash tests may have failure points, which can hold a process.
    Step::new("no-failure-points", "! grep -q SHAREDROOT_HOLD_AT target/debug/static/sharedroot"),
    Step::new("policy", "make -C selinux-policy check"),
    Step::of_tests(
        "unit-tests",
        "cargo test --workspace --lib --bins --test printing --test config --test messages --test house --test circles --test protocol",
    ),
    Step::of_tests(
        "tars-beside-go",
        "hack/tar.d/build target/tar && cargo test -p sharedroot-image --features fuzz --test beside_go",
    ),
    Step::new(
        "lints",
        "cargo clippy --workspace --all-targets --features sharedroot-bench/plots,sharedroot/pages,sharedroot-image/fuzz -- -D warnings",
    ),
    Step::new(
        "lints-of-crash-tests",
        "cargo clippy -p sharedroot-dm --all-targets --features failpoints -- -D warnings",
    ),
    Step::new("manifests", "hack/cri.d/manifests"),
];

/// The steps that `--long` adds at the end.
const LONG: [Step; 2] =
    [Step::new("release-package", "hack/package"), Step::new("fuzz", "hack/fuzz")];

/// Runs `hack/test`.
pub fn run(options: Options) -> Result<ExitCode> {
    let started = Instant::now();
    let asked = Asked::of_environment()?;
    let mut programs = program::programs(&options.names, &asked)?;
    let whole = options.names.is_empty();
    if whole && !options.long {
        programs.retain(|program| !program.long);
    }
    let _ = fs::remove_dir_all(OUT);
    fs::create_dir_all(SHARE)?;
    let out = Out(OUT.into());

    let mut report = Report::default();
    for done in prepare(&programs, &out)? {
        report.add(done);
    }
    if report.is_well() {
        let mut sequences = Sequence::all(&mut programs, whole, options.long);
        if asked.runtime.is_some() || asked.engines.is_some() {
            sequences.retain(|sequence| matches!(sequence, Sequence::Guests(_)));
        }
        let slots = options.guests.map_or_else(slots, |guests| Ok(guests.into()))?;
        let here: &[Step] = if whole { &HERE } else { &[] };
        guests(Work::new(sequences, programs), slots, here, &out, &mut report)?;
    }
    if options.long {
        for step in &LONG {
            report.add(step.run(&out)?);
        }
    }
    report.print(started.elapsed());
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one program, for `hack/conformance`.
pub fn run_one(one: &One) -> Result<ExitCode> {
    let asked = Asked::of_environment()?;
    let programs = program::programs(std::slice::from_ref(&one.name), &asked)?;
    let program = programs.last().context("no such program")?;
    fs::create_dir_all(&one.out)?;
    let mut log = sequences::new_log(&Out(one.out.clone()).log(&one.name))?;
    let (mut end, _) = sequences::once(&program.needs[0], program, &one.share, 0, &mut log)?;
    if let End::Broken(_) = end {
        (end, _) = sequences::once(&program.needs[0], program, &one.share, 0, &mut log)?;
    }
    Ok(ExitCode::from(end.code()))
}

/// Compiles the executables, for `hack/conformance` and `hack/crash`.
pub fn run_compile(options: &Compile) -> Result<ExitCode> {
    let programs = program::programs(&options.names, &Asked::default())?;
    fs::create_dir_all(&options.dir)?;
    compile::into(&options.dir, &programs, std::io::stderr())?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the lab and compiles the executables, at the same time.
fn prepare(programs: &[Program], out: &Out) -> Result<Vec<Done>> {
    let lab = Step::new("lab", "hack/lab build");
    let build = Step::new("build", "hack/build");
    thread::scope(|scope| {
        let lab = scope.spawn(|| lab.run(out));
        let mut done = vec![build.run(out)?];
        if done[0].fault.is_none() {
            done.push(compile(programs, out)?);
        }
        done.push(lab.join().expect("the thread of the lab's build")?);
        Ok(done)
    })
}

/// Compiles the integration tests into the shared directory.
fn compile(programs: &[Program], out: &Out) -> Result<Done> {
    let (name, started) = ("compile-tests", Instant::now());
    println!("== {name}");
    let log = out.log(name);
    let compiled = compile::into(Path::new(SHARE), programs, fs::File::create(&log)?);
    if compiled.is_err() {
        print!("{}", out.read(name)?);
    }
    let mut done =
        Done::new(name, "", compiled.err().map(|error| format!("{error:#}")), Passes::ByExitCode);
    (done.test, done.here) = (started.elapsed(), true);
    Ok(done)
}

/// The number of guests at once. A guest waits for the host a part of the time, so there are more guests than processors: twice
/// as many with the faster kernel, else one more.
fn slots() -> Result<usize> {
    let processors = thread::available_parallelism()?.get();
    let wanted = match Kernel::chosen()? {
        Kernel::Seccomp => 2 * processors,
        Kernel::Ptrace => processors + 1,
    };
    let kib = memory::meminfo("MemTotal").context("MemTotal in /proc/meminfo")?;
    let fit = (kib >> 20) / GUEST_GIB;
    Ok(wanted.min(usize::try_from(fit)?).max(1))
}

/// A message of a slot, or of the thread that runs the steps on this machine.
enum Told {
    Done(Done),
    Failed(anyhow::Error),
}

fn guests(work: Work, slots: usize, here: &[Step], out: &Out, report: &mut Report) -> Result<()> {
    report.guests_begin(slots);
    let (tell, told) = channel();
    let failed = Mutex::new(None);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| memory::keep_free(&done));
        let beside = tell.clone();
        scope.spawn(|| {
            let beside = beside;
            for extra in work.wanted() {
                send(&beside, extra.step().run(out));
                work.made(extra);
            }
            for step in here {
                send(&beside, step.run(out));
            }
        });
        for number in 0..slots {
            let tell = tell.clone();
            let work = &work;
            scope.spawn(move || slot(number, work, out, &tell));
        }
        drop(tell);
        for told in told {
            match told {
                Told::Done(done) => report.add(done),
                Told::Failed(error) => {
                    println!("== hack/test itself failed: {error:#}");
                    failed.lock().expect("one thread").get_or_insert(error);
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    report.guests_end();
    match failed.into_inner().expect("one thread") {
        Some(error) => bail!(error),
        None => Ok(()),
    }
}

fn send(tell: &Sender<Told>, done: Result<Done>) {
    // The receiver lives longer than its senders.
    let _ = tell.send(done.map_or_else(Told::Failed, Told::Done));
}

/// Does the next work until no work is left.
fn slot(number: usize, work: &Work, out: &Out, tell: &Sender<Told>) {
    let share = Path::new(SHARE);
    while let Some(next) = work.next() {
        match next {
            Next::Sequence(sequence) => {
                println!("== {} begins", sequence.name());
                send(tell, sequence.run(share, out, number));
            }
            Next::Serve(kind) => {
                let served = served::serve(&kind, share, out, number, &|done| send(tell, Ok(done)));
                kind.guest_ended();
                if let Err(error) = served {
                    let _ = tell.send(Told::Failed(error));
                    return;
                }
            }
        }
    }
}
