//! The figures that have a target.

use sharedroot_bench::{TOTAL, Target};

use crate::disks::{DATA, METADATA};
use crate::look::Look;
use crate::mode::Mode;
use crate::pods::CREATE;
use crate::run::Run;
use crate::turns::Turns;

/// The figures with their targets, for the modes that ran.
pub fn of(runs: &[Run], turns: &Turns) -> Vec<Target> {
    let find = |mode| runs.iter().find(|run| run.mode == mode);
    let Some(shared) = find(Mode::Shared) else { return Vec::new() };
    let mut targets = Vec::new();
    let wall = |run: &Run| run.wall.create + run.wall.delete;
    if let Some(plain) = find(Mode::Plain) {
        // Two modes may run hours apart on a busy machine, so these two, which do equal work, are compared.
        let what = "all creates and deletes, shared to plain: no root at all".to_owned();
        let control = Target::ratio(what, wall(shared), wall(plain), 1.0, "s");
        targets.push(told(control.what, control.found));
    }
    for (mode, time, memory) in [(Mode::Overlay2, 0.75, 0.95), (Mode::Private, 0.4, 0.1)] {
        let Some(peer) = find(mode) else { continue };
        let what =
            format!("all creates and deletes, one mode after the other, shared to {}", mode.name());
        targets.push(Target::ratio(what, wall(shared), wall(peer), time, "s"));
        if let Some((ours, peer)) = turns.whole(Mode::Shared).zip(turns.whole(mode)) {
            let what =
                format!("one create and delete, in turn, medians, shared to {}", mode.name());
            // Only few pods run meanwhile, and the mounts of other modes slow all modes alike.
            let in_turn = Target::ratio(what, ours, peer, time, "ms");
            targets.push(told(in_turn.what, in_turn.found));
        }
        let each = |run: &Run| run.each(Look::used_kb);
        let what = format!("memory of each container, shared to {}", mode.name());
        targets.push(Target::ratio(what, each(shared), each(peer), memory, "kB"));
        if let Some(plain) = find(Mode::Plain).map(each) {
            let (ours, theirs) = (each(shared) - plain, each(peer) - plain);
            let what = format!("the same without what plain takes, shared and {}", mode.name());
            targets.push(told(what, format!("{ours:.1} and {theirs:.1} kB")));
        }
    }
    for disk in [DATA, METADATA] {
        let read = |look: &Look| look.disks[disk].read;
        let found = read(shared.full()) - read(shared.one());
        targets.push(Target {
            what: format!("sectors read from the disk of {disk} after the first container, shared"),
            found: found.to_string(),
            target: "0".to_owned(),
            met: found == 0,
        });
    }
    let copies = shared.pages.copies();
    targets.push(Target {
        what: "copies of the images' pages, shared".to_owned(),
        found: format!("{copies:.2}"),
        target: "1.00".to_owned(),
        met: copies <= 1.0,
    });
    targets.extend(runs.iter().map(growth));
    targets
}

/// The last tenth of the pods compared with the first tenth.
fn growth(run: &Run) -> Target {
    let times = run.times(CREATE, TOTAL);
    let tenth = times.len() / 10;
    // The first pod makes what the others use, so it is left out.
    let (first, last) = (times.part(1..tenth + 1), times.part(times.len() - tenth..times.len()));
    let what = format!(
        "create, all steps, p99 of the last {tenth} to the first {tenth}, {}",
        run.mode.name()
    );
    let target = Target::ratio(what, last.p99(), first.p99(), 1.2, "ms");
    if run.mode == Mode::Shared { target } else { told(target.what, target.found) }
}

/// A figure without a target of its own.
fn told(what: String, found: String) -> Target {
    Target { what, found, target: "told".to_owned(), met: true }
}
