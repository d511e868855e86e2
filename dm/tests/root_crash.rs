//! The crate against SIGKILL, power cuts and lost writes, at every named step and at random moments.
//!
//! `hack/test` runs this binary as root in the lab; `docs/crash-tests.md` says what each test does.
//!
//! Guest: --no-docker --pool device --limit 1800 --takes 400

mod crash;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crash::flakey::Flakey;
use crash::random::Chance;
use crash::site::{Failed, Site, chain, say};
use crash::story::{STORY, held_at, tell};
use crash::{note, power, recovered, riot, untroubled, worker};
use sharedroot_dm::{Pool, Reconcile};

/// The directory of the sites without a disk of their own.
const DISK: &str = "/var/lib/sharedroot/crash";

/// How many sites work at a time.
const LANES: usize = 3;

/// How many random moments `hack/test` tries. `hack/crash` tries more.
const MOMENTS: usize = 12;

/// The steps that each operation has at least. A step that is removed by mistake fails the test.
const LEAST: &[(&str, &[&str])] = &[
    (
        "create pool",
        &[
            "pool intended",
            "data file made",
            "metadata file made",
            "pool made",
            "loop device attached",
            "pool recorded",
            "device created",
            "table loaded",
            "device started",
        ],
    ),
    (
        "make base",
        &[
            "intent recorded",
            "transaction set",
            "pool changed",
            "device created",
            "table loaded",
            "device started",
        ],
    ),
    ("activate base", &["device created", "table loaded", "device started"]),
    (
        "snapshot, shrink, write, keep",
        &[
            "intent recorded",
            "transaction set",
            "pool changed",
            "device created",
            "table loaded",
            "device started",
            "new table loaded",
            "new table in use",
        ],
    ),
    (
        "snapshot of an active origin",
        &[
            "intent recorded",
            "transaction set",
            "origin suspended",
            "pool changed",
            "origin resumed",
            "device created",
            "table loaded",
            "device started",
        ],
    ),
    ("delete", &["intent recorded", "blocks discarded", "id deleted", "row dropped"]),
    (
        "delete in use",
        &[
            "deferral recorded",
            "device renamed",
            "other table loaded",
            "other table in use",
            "intent recorded",
            "id deleted",
            "removal deferred",
            "row dropped",
        ],
    ),
    ("resize", &["size recorded", "new table loaded", "new table in use"]),
    (
        "grow",
        &[
            "growth intended",
            "file extended",
            "loop device extended",
            "new table loaded",
            "new table in use",
        ],
    ),
    ("shut down", &["pool deactivated", "loop devices detached"]),
    (
        "destroy pool",
        &["end intended", "pool deactivated", "loop devices detached", "file removed"],
    ),
    ("activate pool and volumes", &["device created", "table loaded", "device started"]),
];

#[test]
fn root_no_step_has_vanished() {
    let site = Site::new("steps", Path::new(DISK));
    let (steps, _) = untroubled(&site).expect("an untroubled run");
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    for step in &steps {
        seen.entry(step.operation.as_str()).or_default().insert(step.name.as_str());
    }
    for (operation, names) in &seen {
        say(&format!("{operation}: {}", names.iter().copied().collect::<Vec<_>>().join(", ")));
    }
    for (operation, names) in LEAST {
        for name in *names {
            let there = seen.get(operation).is_some_and(|names| names.contains(name));
            assert!(there, "the operation {operation:?} has no step {name:?} any more: {seen:?}");
        }
    }
    site.clear().expect("cleared");
}

#[test]
fn root_a_kill_at_every_step_leaves_nothing() {
    in_lanes("kill");
}

#[test]
fn root_lost_writes_at_every_step_are_recovered_from() {
    in_lanes("lost writes");
}

/// Gives the steps to several sites at a time, because a site mostly waits for a tool or for the kernel. Each site is a
/// process: a child of a thread would hold the locks and files of other threads between fork and exec.
fn in_lanes(what: &str) {
    let started = Instant::now();
    let lane = |number: usize| {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child_lane", "--ignored", "--nocapture", "--test-threads=1"])
            .envs([("TEST_LANE", number.to_string().as_str()), ("TEST_WHAT", what)])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a lane");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // Without the lines of the test harness, which `hack/test` would count as tests.
        lines
            .map_while(Result::ok)
            .filter(|line| !line.starts_with("test "))
            .for_each(|line| say(&line));
        child.wait().expect("ended").success()
    };
    let fine = std::thread::scope(|scope| {
        let lane = &lane;
        let lanes = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect::<Vec<_>>();
        lanes.into_iter().map(|lane| lane.join().expect("a lane")).collect::<Vec<_>>()
    });
    say(&format!("{what}: {:.1} s", started.elapsed().as_secs_f32()));
    assert!(fine.iter().all(|fine| *fine), "lanes, see above: {fine:?}");
}

#[test]
#[ignore = "started by the other tests"]
fn child_lane() {
    println!(); // The harness has begun a line.
    let get = |name| std::env::var(name).expect("only in_lanes starts a lane");
    let lane = get("TEST_LANE").parse().expect("a number");
    let failures = match get("TEST_WHAT").as_str() {
        "kill" => kill(lane),
        _ => lost_writes(lane),
    };
    let failures = failures.unwrap_or_else(|error| vec![chain(error.as_ref())]);
    assert!(
        failures.is_empty(),
        "{} failures in lane {lane}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn kill(lane: usize) -> Result<Vec<String>, Failed> {
    let site = Site::new(&format!("kill{lane}"), &Path::new(DISK).join(format!("kill{lane}")));
    let (steps, expected) = untroubled(&site)?;
    for line in expected.0.iter().filter(|_| lane == 0) {
        say(&format!("untroubled: {line}"));
    }
    let mut failures = Vec::new();
    for step in steps.iter().skip(lane).step_by(LANES) {
        site.clear()?;
        let (child, operation) = held_at(&site, step)?;
        child.kill();
        let differences = recovered(&site, operation, &expected);
        note(&mut failures, &format!("killed at {step}"), &differences);
    }
    site.clear().map(|()| failures)
}

fn lost_writes(lane: usize) -> Result<Vec<String>, Failed> {
    let disk = Flakey::new(lane)?;
    let site = disk.fresh()?;
    let (steps, expected) = untroubled(&site)?;
    disk.end(&site)?;
    let mut failures = Vec::new();
    for step in steps.iter().skip(lane).step_by(LANES) {
        // In every fifth round another process goes on meanwhile, on a disk that loses its writes.
        let differences = disk.at_step(step, &expected, step.number % 5 == 0)?;
        note(&mut failures, &format!("writes lost from {step} on"), &differences);
    }
    Ok(failures)
}

#[test]
fn root_lost_writes_at_random_moments_are_recovered_from() {
    let disk = Flakey::new(0).expect("a disk");
    let site = disk.fresh().expect("a file system");
    let started = Instant::now();
    let (_, expected) = untroubled(&site).expect("an untroubled run");
    // The census takes most of the time.
    let longest = started.elapsed() / 3;
    disk.end(&site).expect("ended");
    let (mut failures, mut chance) = (Vec::new(), Chance::from_clock());
    for _ in 0..MOMENTS {
        let delay = longest.mul_f64(chance.fraction());
        let (operation, differences) = disk.after(delay, &expected).expect("a restart");
        let operation = STORY.get(operation).map_or("after the end", |operation| operation.name);
        note(&mut failures, &format!("writes lost after {delay:?} ({operation})"), &differences);
    }
    assert!(failures.is_empty(), "{chance}:\n{}", failures.join("\n"));
}

/// One boot of many. `hack/test` boots one guest after another until a boot reaches the end of the sequence.
#[test]
#[ignore = "hack/test runs it, in one guest after another"]
fn power_cut_at_every_step() {
    let failures = power::boot(Path::new(DISK)).expect("a boot");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One boot of many of `hack/crash`.
#[test]
#[ignore = "hack/crash runs it, in one guest after another"]
fn random_crashes() {
    riot::boot(Path::new(DISK)).unwrap_or_else(|error| panic!("{}", chain(error.as_ref())));
}

/// One of the processes of `random_crashes`.
#[test]
#[ignore = "started by the other tests"]
fn child_riot() {
    let site = Site::of_child();
    let get = |name| std::env::var(name).expect("only a riot starts a worker");
    let seed = get("TEST_SEED").parse().expect("a number");
    worker::work(site, &get("TEST_WORKER"), seed, &get("TEST_HAVE"))
        .unwrap_or_else(|error| panic!("{}", chain(error.as_ref())));
}

/// Opens the pool, as the next command does first.
#[test]
#[ignore = "started by the other tests"]
fn child_recovery() {
    let site = Site::of_child();
    let pool = Pool::open(&site.config).expect("the pool");
    pool.reconcile(Reconcile::Apply).expect("reconciled");
}

/// Runs the story. This is the process that is stopped or killed.
#[test]
#[ignore = "started by the other tests"]
fn child_story() {
    let site = Site::of_child();
    assert!(!STORY.is_empty());
    tell(&site, 0, |number| println!("did {number}")).unwrap_or_else(|error| panic!("{error}"));
}
