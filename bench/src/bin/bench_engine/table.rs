//! The tables and the targets. All times are net of the client itself: of a call that asks for the engine's version.

use std::fmt::Write;

use sharedroot_bench::{Samples, TOTAL, Target, Times};

use crate::arm::Arm;
use crate::client::{CLIENT, Client, DELETE, START, VERSION};
use crate::ctr::TASK_START;
use crate::many::{HUNDRED, Many};
use crate::memory::{Figure, Memory, median};

/// The figures of a container's memory.
const MEMORY: [(&str, Figure); 6] = [
    ("kernel and anonymous memory, without the daemons', kB", |look| look.kernel + look.anonymous),
    ("of it the kernel's", |look| look.kernel),
    ("MemAvailable less, without the daemons' PSS, kB", |look| look.used),
    ("PSS of shims, kB", |look| look.shims),
    ("processes of shims", |look| look.processes),
    ("mounts of the host", |look| look.mounts),
];

/// The times of all arms.
pub fn times<C: Client>(_: &C, rounds: usize, samples: &Samples) -> String {
    let client = own(samples, START);
    let mut text =
        format!("| {}: median of {rounds}, ms, net of the client's {client:.0} ms |", C::NAME);
    let pairs = pairs(C::ARMS);
    head(&mut text, C::ARMS.iter().map(|arm| arm.name().to_owned()), &pairs);
    for (operation, step) in samples.steps() {
        if step == VERSION || (step == TOTAL && calls(samples, operation) == 1) {
            continue;
        }
        write!(text, "\n| {operation}: {step} |").expect("a string grows");
        let net = |arm: Arm| net(samples, arm, operation, step);
        C::ARMS.iter().for_each(|arm| push(&mut text, &format!("{:.0}", net(*arm))));
        ratios(&mut text, &pairs, net);
    }
    text.push('\n');
    text
}

/// The memory of all arms.
pub fn memory<C: Client>(_: &C, containers: usize, memory: &Memory) -> String {
    let mut text = format!("| {}: for each {} of {containers} |", C::NAME, C::UNIT);
    let pairs = pairs(C::ARMS);
    head(&mut text, C::ARMS.iter().map(|arm| arm.name().to_owned()), &pairs);
    for (what, figure) in MEMORY {
        write!(text, "\n| {what} |").expect("a string grows");
        let median = |arm: Arm| median(memory, arm, figure);
        C::ARMS.iter().for_each(|arm| push(&mut text, &short(median(*arm))));
        ratios(&mut text, &pairs, median);
    }
    text.push('\n');
    text
}

/// The figures with a target: the shim without groups to containerd as it comes.
pub fn targets<C: Client>(_: &C, samples: &Samples, memory: &Memory) -> Vec<Target> {
    let [(ours, peer), _] = Arm::PAIRS;
    let time = |(operation, step, most): &(&'static str, &'static str, f64)| {
        let net = |arm| net(samples, arm, operation, step);
        let what = format!("{}: {operation}: {step}", C::NAME);
        Target::ratio(what, net(ours), net(peer), *most, "ms")
    };
    let mut targets: Vec<Target> = C::TARGETS.iter().map(time).collect();
    if let Some(most) = C::MEMORY {
        let (what, figure) = MEMORY[0];
        let [ours, peer] = [ours, peer].map(|arm| median(memory, arm, figure));
        targets.push(Target::ratio(format!("{}: {what}", C::NAME), ours, peer, most, "kB"));
    }
    targets
}

/// The arms with many containers.
pub fn many(arms: &[Many]) -> String {
    let mut text = "| ctr: many in one group, net of the client |".to_owned();
    head(
        &mut text,
        arms.iter().map(|many| format!("{}: {}", many.arm.name(), many.containers)),
        &[],
    );
    type Line = (&'static str, fn(&Many) -> f64);
    let lines: [Line; 11] = [
        ("task start, the first hundred, median ms", |many| hundreds(many)[0].median()),
        ("the last hundred", |many| hundreds(many)[1].median()),
        ("task start, the first hundred, p99 ms", |many| hundreds(many)[0].p99()),
        ("the last hundred", |many| hundreds(many)[1].p99()),
        ("task rm --force of a hundred, median ms", |many| {
            net(&many.samples, many.arm, DELETE, TOTAL)
        }),
        ("PSS of the shim with one container, kB", |many| many.looks[0].shims),
        ("PSS of the shim with all, kB", |many| many.looks[1].shims),
        ("PSS of the shim for each, kB", |many| many.each.shims),
        ("descriptors of the shim with all", |many| many.descriptors as f64),
        ("kernel and anonymous memory for each, without the daemons', kB", |many| {
            many.each.kernel + many.each.anonymous
        }),
        ("of it the kernel's", |many| many.each.kernel),
    ];
    for (what, figure) in lines {
        write!(text, "\n| {what} |").expect("a string grows");
        arms.iter().for_each(|many| push(&mut text, &short(figure(many))));
    }
    text.push('\n');
    text
}

/// The targets of many containers in our server.
pub fn targets_of_many(many: &Many) -> Vec<Target> {
    let [first, last] = hundreds(many);
    let (pss, most) = (many.looks[1].shims, 1536.0 + 10.0 * (many.containers + 1) as f64);
    let what = |figure: &str| {
        format!(
            "{} in one server: task start, the last hundred to the first, {figure}",
            many.containers
        )
    };
    vec![
        Target::ratio(what("median"), last.median(), first.median(), 1.2, "ms"),
        Target::ratio(what("p99"), last.p99(), first.p99(), 1.2, "ms"),
        Target {
            what: format!("{} in one server: its PSS", many.containers),
            found: format!("{pss:.0} kB"),
            target: format!("≤ {most:.0} kB, which is 1.5 MB and 10 kB for each"),
            met: pss <= most,
        },
    ]
}

/// The net times of the first hundred and of the last hundred.
fn hundreds(many: &Many) -> [Times; 2] {
    let all = many.samples.get(many.arm.name(), START, TASK_START).expect("they were started");
    let client = own(&many.samples, START);
    [0..HUNDRED, all.len() - HUNDRED..all.len()].map(|part| all.part(part).less(client))
}

/// The arms that are compared.
fn pairs(arms: &[Arm]) -> Vec<(Arm, Arm)> {
    Arm::PAIRS.into_iter().filter(|(ours, _)| arms.contains(ours)).collect()
}

/// The median of an arm's time, without the time of the client in each call.
fn net(samples: &Samples, arm: Arm, operation: &str, step: &str) -> f64 {
    let calls = if step == TOTAL { calls(samples, operation) } else { 1 };
    let times = samples.get(arm.name(), operation, step).expect("each arm has each step");
    times.median() - calls as f64 * own(samples, operation)
}

/// The client's own time, when the operation was measured.
fn own(samples: &Samples, operation: &str) -> f64 {
    samples.get(CLIENT, operation, VERSION).expect("it was measured").median()
}

/// The number of an operation's steps, each of which is a call of the client.
fn calls(samples: &Samples, operation: &str) -> usize {
    let all = samples.steps();
    all.iter().filter(|(o, step)| *o == operation && ![TOTAL, VERSION].contains(step)).count()
}

fn head(text: &mut String, columns: impl Iterator<Item = String>, pairs: &[(Arm, Arm)]) {
    let ratios = pairs.iter().map(|(ours, peer)| format!("{} / {}", ours.name(), peer.name()));
    let columns: Vec<String> = columns.chain(ratios).collect();
    columns.iter().for_each(|column| push(text, column));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
}

fn ratios(text: &mut String, pairs: &[(Arm, Arm)], figure: impl Fn(Arm) -> f64) {
    for (ours, peer) in pairs {
        let peer = Some(figure(*peer)).filter(|peer| *peer > 0.0);
        push(text, &peer.map_or(String::new(), |peer| format!("{:.2}", figure(*ours) / peer)));
    }
}

fn push(text: &mut String, cell: &str) {
    write!(text, " {cell} |").expect("a string grows");
}

fn short(figure: f64) -> String {
    if figure.abs() < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") }
}
