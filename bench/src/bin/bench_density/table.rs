//! The figures, with a column for each mode, and the ratios to the shared root.

use std::fmt::Write;

use sharedroot_bench::TOTAL;

use crate::disks::{DATA, LAYERS, METADATA};
use crate::look::Look;
use crate::mode::Mode;
use crate::pods::{CREATE, DELETE};
use crate::run::Run;

/// A line: its name, its unit, and how its figure is found.
type Line = (String, &'static str, Box<dyn Fn(&Run) -> Option<f64>>);

/// The Markdown table.
pub fn of(runs: &[Run]) -> String {
    let find = |mode| runs.iter().find(|run| run.mode == mode);
    let peers: Vec<&Run> = [Mode::Overlay2, Mode::Private].into_iter().filter_map(find).collect();
    let shared = find(Mode::Shared);
    let mut text = "| figure |".to_owned();
    runs.iter().for_each(|run| push(&mut text, run.mode.name()));
    let ratios = if shared.is_some() { &peers[..] } else { &[] };
    ratios.iter().for_each(|peer| push(&mut text, &format!("shared / {}", peer.mode.name())));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(runs.len() + ratios.len()));
    for (what, unit, figure) in lines() {
        if runs.iter().all(|run| figure(run).is_none()) {
            continue;
        }
        write!(text, "\n| {what}, {unit} |").expect("a string grows");
        runs.iter().for_each(|run| push(&mut text, &figure(run).map_or(String::new(), short)));
        for peer in ratios {
            let ratio = figure(peer).filter(|peer| *peer > 0.0);
            let ratio = ratio.zip(shared.and_then(&figure)).map(|(peer, ours)| ours / peer);
            push(&mut text, &ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
    }
    text.push('\n');
    text
}

fn push(text: &mut String, cell: &str) {
    write!(text, " {cell} |").expect("a string grows");
}

fn short(figure: f64) -> String {
    if figure.abs() < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

#[expect(clippy::too_many_lines, reason = "a page of text")]
fn lines() -> Vec<Line> {
    let mut lines: Vec<Line> = vec![
        line("all creates and deletes", "s", |run| run.wall.create + run.wall.delete),
        line("all creates", "s", |run| run.wall.create),
        line("all deletes", "s", |run| run.wall.delete),
    ];
    for (operation, step) in
        [(CREATE, "create"), (CREATE, "start"), (CREATE, TOTAL), (DELETE, TOTAL)]
    {
        let what = match step {
            TOTAL => format!("{operation}, all steps"),
            step => format!("`{step}`"),
        };
        for (name, part) in [("median", 0.5), ("90th percentile", 0.9), ("99th percentile", 0.99)] {
            let figure = move |run: &Run| run.times(operation, step).quantile(part);
            lines.push(line(&format!("{what}, {name}"), "ms", figure));
        }
    }
    lines.push(line("container 1: create, all steps", "ms", |run| {
        run.times(CREATE, TOTAL).part(0..1).median()
    }));
    for disk in [DATA, METADATA, LAYERS] {
        let read = move |look: &Look| look.disks[disk].read as f64;
        lines.push(line(&format!("read from the disk of {disk}, all"), "sectors", move |run| {
            read(run.full())
        }));
        lines.push(line(
            &format!("read from the disk of {disk}, after the first"),
            "sectors",
            move |run| read(run.full()) - read(run.one()),
        ));
    }
    let mut each = |what: &str, unit, figure: fn(&Look) -> f64| {
        lines.push(line(&format!("{what}, each container"), unit, move |run| run.each(figure)));
    };
    each("memory (MemTotal − MemFree)", "kB", Look::used_kb);
    each("MemAvailable less", "kB", |look| -look.kb("MemAvailable"));
    each("kernel: Slab, Percpu, stacks, page tables", "kB", Look::kernel_kb);
    each("of it Slab", "kB", |look| look.kb("Slab"));
    each("of it Percpu", "kB", |look| look.kb("Percpu"));
    each("page cache and buffers", "kB", |look| look.kb("Cached") + look.kb("Buffers"));
    each("cgroup: file", "kB", |look| look.cgroup_kb("file"));
    each("cgroup: anon", "kB", |look| look.cgroup_kb("anon"));
    each("cgroup: kernel", "kB", |look| look.cgroup_kb("kernel"));
    each("PSS", "kB", |look| look.pss as f64);
    each("USS", "kB", |look| look.uss as f64);
    lines.push((
        "PSS of the engine's process, each container".to_owned(),
        "kB",
        Box::new(|run| run.full().shim_pss.map(|pss| pss as f64 / run.full().pods as f64)),
    ));
    lines.push(line("copies of the images' pages", "1", |run| run.pages.copies()));
    let mut full = |what: &str, unit, figure: fn(&Look) -> f64| {
        lines.push(line(&format!("with all: {what}"), unit, move |run| figure(run.full())));
    };
    full("mounts of the host", "1", |look| look.mounts as f64);
    full("dm devices", "1", |look| look.dm_devices as f64);
    full("kernel threads", "1", |look| look.kernel_threads as f64);
    full("a read of mountinfo", "ms", |look| look.mountinfo_ms);
    lines.push(("with all: `docker ps`".to_owned(), "ms", Box::new(|run| run.full().list_ms)));
    for (what, figure) in [
        ("data", (|pool| pool.data_blocks) as fn(&crate::look::Pool) -> u64),
        ("metadata", |pool| pool.metadata_blocks),
    ] {
        lines.push((
            format!("with all: blocks of the pool's {what}"),
            "1",
            Box::new(move |run| run.full().pool.as_ref().map(|pool| figure(pool) as f64)),
        ));
    }
    lines
}

fn line(what: &str, unit: &'static str, figure: impl Fn(&Run) -> f64 + 'static) -> Line {
    (what.to_owned(), unit, Box::new(move |run| Some(figure(run))))
}
