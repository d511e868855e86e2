//! All arms of one image, cold and warm in turn.

use sharedroot_tests::command::out;
use sharedroot_tests::docker::docker;
use sharedroot_tests::pool::pool;

use crate::arm::Arm;
use crate::found::{First, Found, Line, State};
use crate::hello::hello;
use crate::images::{Image, image};
use crate::options::Options;

/// Runs the first container of each image, which makes the base. It counts for no arm.
pub fn first_containers(options: &Options) -> Found {
    let mut images: Vec<&'static Image> = vec![image("pause"), image("busybox")];
    let others = options.images.iter().filter(|image| !matches!(image.name, "pause" | "busybox"));
    images.extend(others);
    let mut firsts = Vec::new();
    for image in images {
        let format = "{{.Size}}";
        let bytes = docker(&["image", "inspect", "--format", format, image.name]).ok();
        let bytes = bytes.parse().expect("a number of bytes");
        let ms = hello(image, Arm::Shared).ms;
        eprintln!("hello: {}: first container, with its base made: {ms:.0} ms", image.name);
        firsts.push(First { image: image.name, bytes, ms });
    }
    Found { firsts, hellos: Vec::new() }
}

/// Runs the rounds. In every round each arm has one cold container and then its warm containers. The order changes, so that no
/// arm always follows the slowest one.
pub fn of(image: &'static Image, options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for round in 0..options.rounds {
        let mut order = Arm::ALL;
        order.rotate_left(round % Arm::ALL.len());
        if round % 2 == 1 {
            order.reverse();
        }
        for arm in order {
            forget();
            hello(image.neighbour(), arm);
            let states = std::iter::once(State::Cold).chain((0..options.warm).map(|_| State::Warm));
            for state in states {
                let hello = hello(image, arm);
                lines.push(Line { image: image.name, arm: arm.name(), state, round, hello });
            }
        }
        eprintln!("hello: {}: round {} of {}", image.name, round + 1, options.rounds);
    }
    lines
}

/// Unmounts the bases, writes everything to the disks, and drops every page that no process has mapped.
fn forget() {
    pool(&["deactivate"]).ok();
    out(&["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
}
