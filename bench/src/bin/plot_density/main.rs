//! The pictures of a run of `hack/bench density`, as SVG and as PNG.
//!
//!     plot_density RUN.json DIRECTORY FONT.ttf
//!
//! The pictures can be read without colours: every mode has its own marker and shade. The font gives the sizes of texts, and
//! the letters of the PNG.
//!
//! | file | its story |
//! |---|---|
//! | `found.rs` | the figures of a run that are drawn |
//! | `lines.rs` | figures over the number of pods, with a line for each mode |
//! | `bars.rs` | the time of each mode |
#![forbid(unsafe_code)]

mod bars;
mod found;
mod lines;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bars::Bars;
use found::{Found, Series};
use lines::Lines;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

const SIZE: (u32, u32) = (900, 520);

/// The backends' errors have types of their own.
type Drawn = Result<(), Box<dyn Error>>;

/// A picture for any backend.
trait Picture {
    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &DrawingArea<B, Shift>) -> Drawn;
}

fn main() -> Drawn {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [run, dir, font] = &words[..] else {
        return Err("plot_density RUN.json DIRECTORY FONT.ttf".into());
    };
    // The crate registers fonts for the whole program.
    let font = fs::read(font).map_err(|e| format!("read {}: {e}", font.display()))?.leak();
    register_font("sans-serif", FontStyle::Normal, font).map_err(|_| "no font in that file")?;
    let found = Found::read(run)?;
    fs::create_dir_all(dir)?;

    let bars = |name, title, unit, totals| both(dir, name, &Bars { title, unit, totals });
    bars("total", found.title("All creates and deletes"), "seconds", found.totals())?;
    let title = "One create and delete, the modes in turn, medians".to_owned();
    bars("turns", title, "ms", found.turns())?;
    let lines = |name, title, unit, series: Vec<Series>| {
        both(dir, name, &Lines { title: found.title(title), unit, series })
    };
    lines("start", "Until a container is started", "ms, median of neighbours", found.latency())?;
    lines("reads", "Read from all disks", "MiB", found.reads())?;
    lines("memory", "Memory more than with none", "MiB", found.memory())
}

/// Draws NAME.svg and NAME.png.
fn both(dir: &Path, name: &str, picture: &impl Picture) -> Drawn {
    let path = |end: &str| dir.join(format!("{name}.{end}"));
    picture.draw(&SVGBackend::new(&path("svg"), SIZE).into_drawing_area())?;
    picture.draw(&BitMapBackend::new(&path("png"), SIZE).into_drawing_area())
}
