//! The cost of a container of an image beside a container that does not share: a second `create`, the first write to a large
//! file, and the `delete` of a root with many files in which nothing was changed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sharedroot_bench::{Clock, Samples, TOTAL, Target};
use sharedroot_tests::bundle::make_rootfs;

use crate::bundles::{Bundles, Root};
use crate::made::settle;

const OURS: &str = "root of ours";
const NOT_SHARED: &str = "root not shared";

const CREATE: &str = "second container, read-only: create";
const WRITE: &str = "first write of a byte in 1 GiB";
const DELETE: &str = "30,000 files, none changed: delete";

/// The number of rounds. Fast operations vary more than slow ones.
const TURNS_OF_A_CREATE: usize = 20;
const MOST_MORE_OF_CREATE_MS: f64 = 1.0;
const MOST_MORE_OF_DELETE_MS: f64 = 500.0;
const MOST_OF_A_COPY_UP: f64 = 0.1;

const LARGE: &str = "large";

/// An image with many files and a large one.
fn fill(root: &Path) {
    make_rootfs(root);
    for dir in 0..300 {
        let dir = root.join(format!("dir-{dir}"));
        fs::create_dir(&dir).expect("make a directory");
        for file in 0..99 {
            fs::write(dir.join(format!("file-{file}")), format!("{file}\n")).expect("write");
        }
    }
    let mut large = File::create(root.join(LARGE)).expect("make a file");
    let part: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_ne_bytes).collect();
    (0..1 << 10).for_each(|_| large.write_all(&part).expect("write"));
}

pub fn measure(rounds: usize, samples: &mut Samples, targets: &mut Vec<Target>) {
    // Docker's disk has room for a second gigabyte, which overlay's copy-up and the write-back need.
    let bundles = Bundles::new("/var/lib/docker/bench".into(), fill);
    // The first container makes the base, and mounts it for all others.
    bundles.bundle(Root::Shared).create();
    for round in 0..rounds * TURNS_OF_A_CREATE {
        let mut arms = [(OURS, Root::Shared), (NOT_SHARED, Root::NotShared { readonly: true })];
        arms.rotate_left(round % 2);
        for (arm, root) in arms {
            let (bundle, mut clock) = (bundles.bundle(root), Clock::default());
            clock.step("create", || bundle.create());
            samples.file(arm, CREATE, &clock);
        }
    }
    for round in 0..rounds {
        let mut arms = [(OURS, Root::Private), (NOT_SHARED, Root::NotShared { readonly: false })];
        arms.rotate_left(round % 2);
        for (arm, root) in arms {
            let bundle = bundles.bundle(root);
            bundle.create();
            samples.file(arm, WRITE, &write(&bundle.root.join(LARGE)));
            drop(bundle);
            let (bundle, mut clock) = (bundles.bundle(root), Clock::default());
            bundle.create();
            settle();
            clock.step("delete", || bundle.delete());
            samples.file(arm, DELETE, &clock);
        }
    }
    bundles.remove_bases();

    let median = |arm, what| samples.get(arm, what, TOTAL).expect("measured").median();
    for (what, most) in [(CREATE, MOST_MORE_OF_CREATE_MS), (DELETE, MOST_MORE_OF_DELETE_MS)] {
        let (ours, given) = (median(OURS, what), median(NOT_SHARED, what));
        targets.push(Target {
            what: format!("{what}: {OURS} - {NOT_SHARED}"),
            found: format!("{:.2} ms ({ours:.2} - {given:.2})", ours - given),
            target: format!("≤ {most} ms"),
            met: ours - given <= most,
        });
    }
    let what = format!("{WRITE}: {OURS} / {NOT_SHARED}");
    let (ours, given) = (median(OURS, WRITE), median(NOT_SHARED, WRITE));
    targets.push(Target::ratio(what, ours, given, MOST_OF_A_COPY_UP, "ms"));
}

/// Writes to the middle of a file, and flushes the file to the disk.
fn write(path: &Path) -> Clock {
    settle();
    let mut clock = Clock::default();
    let file = clock.step("open", || OpenOptions::new().write(true).open(path).expect("open"));
    clock.step("write", || file.write_all_at(b"x", 512 << 20).expect("write"));
    clock.step("fsync", || file.sync_all().expect("sync"));
    clock
}
