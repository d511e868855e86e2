//! The figures, with a column for each arm, and the ratios of sharedroot.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sharedroot_bench::{Samples, TOTAL, Times};

use crate::arm::{Arm, CALL};
use crate::commit::{COMMIT, Commits, Committed};
use crate::shots::{Looks, OF_THE_COMMIT, OF_THE_IMAGE, RUN_RM, Set, Shots};
use crate::space::Look;
use crate::standing::Standing;

/// All figures.
pub struct Found<'a> {
    pub arms: &'a [Arm],
    pub samples: Samples,
    pub shots: Shots,
    pub commits: Commits,
    pub again: Shots,
    pub standing: Vec<Standing>,
}

/// A line: its name, and its figure for each arm.
type Line = (String, Vec<f64>);

impl Found<'_> {
    /// Every look, by arm.
    pub fn looks(&self) -> Value {
        let of = |at: usize| {
            json!({
                "run": self.shots.looks[at],
                "commit": self.commits.looks[at],
                "run of the commit": self.again.looks[at],
                "standing": self.standing[at],
            })
        };
        let arms = self.arms.iter().enumerate();
        arms.map(|(at, arm)| (arm.name.to_owned(), of(at))).collect::<Map<_, _>>().into()
    }

    fn times(&self) -> Vec<Line> {
        let mut lines = vec![self.time("a call of docker, median", CALL, Times::median)];
        for Set { run, rm, .. } in [OF_THE_IMAGE, OF_THE_COMMIT] {
            lines.push(self.time(&format!("`{run}`, the first"), run, first));
            lines.push(self.time(&format!("`{run}`, the others, median"), run, others));
            lines.push(self.time(&format!("`{rm}`, median"), rm, Times::median));
        }
        lines.push(self.time(&format!("`{RUN_RM}`, median"), RUN_RM, Times::median));
        lines.push(self.time(&format!("`{COMMIT}`, median"), COMMIT, Times::median));
        lines
    }

    fn time(&self, what: &str, operation: &str, figure: fn(&Times) -> f64) -> Line {
        let of = |arm: &Arm| {
            figure(self.samples.get(arm.name, operation, TOTAL).expect("every arm has it"))
        };
        (format!("{what}, ms"), self.arms.iter().map(of).collect())
    }

    fn spaces(&self) -> Vec<Line> {
        let (standing, shots) = (&self.standing, &self.shots.looks);
        let (commits, again) = (&self.commits.looks, &self.again.looks);
        [
            space("a container, created", standing, Standing::created),
            space("a container, running", standing, Standing::running),
            space("a container, ended", shots, Looks::each),
            space("left when all were removed", standing, Standing::left),
            space("an image committed", commits, Committed::each),
            space("a container of the commit, ended", again, Looks::each),
            space("once for the image", shots, Looks::once),
            space("once for the commit", again, Looks::once),
        ]
        .concat()
    }
}

/// KiB.
fn space<T>(what: &str, arms: &[T], look: fn(&T) -> Look) -> [Line; 3] {
    let line = |part: &str, figure: fn(Look) -> i64| -> Line {
        let kib = |arm: &T| figure(look(arm)) as f64 / 1024.0;
        (format!("{what}: {part}, KiB"), arms.iter().map(kib).collect())
    };
    [
        line("data", |look| look.whole().data),
        line("data in the pool, or on btrfs", |look| look.store.data),
        line("metadata", |look| look.whole().metadata),
    ]
}

fn first(times: &Times) -> f64 {
    times.part(0..1).median()
}

fn others(times: &Times) -> f64 {
    times.part(1..times.len()).median()
}

/// The Markdown table.
pub fn of(found: &Found<'_>) -> String {
    let (ours, peers) = found.arms.split_first().expect("ours is the first");
    let mut text = format!("| figure | {} |", ours.name);
    peers.iter().for_each(|peer| push(&mut text, peer.name));
    peers.iter().for_each(|peer| push(&mut text, &format!("ours / {}", peer.name)));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(1 + 2 * peers.len()));
    for (what, figures) in [found.times(), found.spaces()].concat() {
        write!(text, "\n| {what} |").expect("a string grows");
        figures.iter().for_each(|figure| push(&mut text, &short(*figure)));
        for peer in &figures[1..] {
            // There is no ratio to zero or to a negative figure.
            let ratio = (*peer > 0.0).then(|| format!("{:.2}", figures[0] / peer));
            push(&mut text, &ratio.unwrap_or_default());
        }
    }
    text.push('\n');
    text
}

fn push(text: &mut String, cell: &str) {
    write!(text, " {cell} |").expect("a string grows");
}

fn short(figure: f64) -> String {
    if figure.abs() < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") }
}
