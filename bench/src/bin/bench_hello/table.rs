//! The figures and their targets.

use std::fmt::Write;

use sharedroot_bench::Target;

use crate::arm::Arm;
use crate::found::{Found, State};
use crate::hello::{DATA, DOCKER, Hello, METADATA, STORE};
use crate::images::Image;

/// The disks of an image and of what is read to find it: all disks except that of the guest's programs.
const ALL: [&str; 4] = [DATA, METADATA, DOCKER, STORE];
const POOL: [&str; 2] = [DATA, METADATA];

/// Milliseconds, a line for each image and state.
pub fn times(found: &Found, images: &[&'static Image]) -> String {
    let mut text =
        "| ms to the first useful work, median (p99; of fewer than 100 the slowest) |".to_owned();
    Arm::ALL.iter().for_each(|arm| push(&mut text, arm.name()));
    text.push_str(" shared / runc | shared / overlay2 | private / runc | first container |");
    text.push_str("\n|---|---|---|---|---|---|---|---|---|");
    for image in images {
        for (state, word) in [(State::Cold, "cold"), (State::Warm, "warm")] {
            write!(text, "\n| {}, {word} |", image.name).expect("a string grows");
            for arm in Arm::ALL {
                let times = found.times((image.name, arm, state));
                push(&mut text, &format!("{:.0} ({:.0})", times.median(), times.p99()));
            }
            let median = |arm| found.times((image.name, arm, state)).median();
            for (ours, peer) in
                [(Arm::Shared, Arm::Runc), (Arm::Shared, Arm::Overlay2), (Arm::Private, Arm::Runc)]
            {
                push(&mut text, &format!("{:.2}", median(ours) / median(peer)));
            }
            let first = found.first(image.name).ms;
            push(
                &mut text,
                &if state == State::Cold { format!("{first:.0}") } else { String::new() },
            );
        }
    }
    text.push('\n');
    text
}

/// KiB until the first useful work, a line for each image and arm.
pub fn reads(found: &Found, images: &[&'static Image]) -> String {
    let mut text = "| image, KiB | arm | cold, KiB read | of the pool | of Docker's disk | of the image | \
                    to runc | warm, KiB read, most | of the pool |\n|---|---|---|---|---|---|---|---|---|"
        .to_owned();
    for image in images {
        let size = found.first(image.name).bytes as f64 / 1024.0;
        let cold = |arm, roles: &'static [&str]| {
            found.figures((image.name, arm, State::Cold), |hello| hello.read_kib(roles)).median()
        };
        for arm in Arm::ALL {
            let all = cold(arm, &ALL);
            let cells = [
                arm.name().to_owned(),
                format!("{all:.0}"),
                format!("{:.0}", cold(arm, &POOL)),
                format!("{:.0}", cold(arm, &[DOCKER])),
                format!("{:.1} %", 100.0 * all / size),
                format!("{:.2}", all / cold(Arm::Runc, &ALL)),
                format!("{:.0}", most_warm(found, image, arm, &ALL)),
                format!("{:.0}", most_warm(found, image, arm, &POOL)),
            ];
            write!(text, "\n| {} {size:.0} |", image.name).expect("a string grows");
            cells.iter().for_each(|cell| push(&mut text, cell));
        }
    }
    text.push('\n');
    text
}

/// The largest read of all containers after the first one.
fn most_warm(found: &Found, image: &Image, arm: Arm, roles: &[&str]) -> f64 {
    let read = |hello: &Hello| hello.read_kib(roles);
    found.figures((image.name, arm, State::Warm), read).quantile(1.0)
}

/// The only figure with a target: a base is read once.
pub fn targets(found: &Found, images: &[&'static Image]) -> Vec<Target> {
    // An interrupted run does not have all of them.
    let measured =
        images.iter().filter(|image| found.hellos.iter().any(|line| line.image == image.name));
    let target = |image: &&'static Image| {
        let kib = most_warm(found, image, Arm::Shared, &ALL);
        Target {
            what: format!("{}, shared: KiB read by any container after the first", image.name),
            found: format!("{kib:.0}"),
            target: "0".to_owned(),
            met: kib == 0.0,
        }
    };
    measured.map(target).collect()
}

fn push(text: &mut String, cell: &str) {
    write!(text, " {cell} |").expect("a string grows");
}
