//! A base made in two ways, and the tars extracted. All three arms end with all data on the pool: sealing a base flushes it,
//! and the extracted tree is unmounted.

use std::cell::Cell;

use nix::sys::resource::{UsageWho, getrusage};
use sharedroot_bench::Clock;
use sharedroot_dm::{Pool, PoolConfig, VolumeName};
use sharedroot_tests::command::{out, run};
use sharedroot_tests::lab::{RUN_DIR, STATE_DIR};

use crate::bundles::{Bundles, Root};
use crate::source::Source;
use crate::{IMPORT, LAYERS};

/// The size of the volume for the tars: as large as a base, so that ext4 has as many groups.
const SIZE: u64 = 10 << 30;
/// The options of mke2fs: those of a base, except for the options that make bases equal on all hosts.
const MKFS: &str =
    "mke2fs -q -t ext4 -I 256 -m 0 -J size=4 -E lazy_itable_init=1,lazy_journal_init=0,nodiscard";

pub struct Made<'s> {
    source: &'s Source,
    bundles: Bundles,
    /// The size of the extracted files in bytes.
    files: Cell<u64>,
}

impl<'s> Made<'s> {
    pub fn new(source: &'s Source) -> Self {
        let docker = source.dir("docker");
        // All tars become one layer, to measure the base and not overlay's search through the layers.
        let bundles = Bundles::new(docker.into(), |root| {
            for layer in &source.layers {
                untar(layer, root.to_str().expect("ASCII"));
            }
        });
        Self { source, bundles, files: Cell::new(0) }
    }

    pub fn extract(&self) -> Clock {
        settle();
        let name: VolumeName = "bench-tar".parse().expect("a volume's name");
        let pool = Pool::open(&PoolConfig::on_loop(
            "default".parse().expect("a name"),
            STATE_DIR.into(),
            RUN_DIR.into(),
        ));
        let pool = pool.expect("open the pool");
        let (mut clock, at) = (Clock::default(), self.source.dir("extracted"));
        let volume = pool.create_volume(&name, sharedroot_dm::Bytes(SIZE)).expect("make a volume");
        let device = volume.device().to_str().expect("ASCII");
        clock.step("file system", || {
            out(&["sh", "-c", &format!("{MKFS} {device}")]);
            out(&["mount", "-o", "noatime", device, &at]);
        });
        clock.step("files", || self.source.layers.iter().for_each(|layer| untar(layer, &at)));
        clock.step("flush", || out(&["sync", "--file-system", &at]));
        let used = out(&["du", "--one-file-system", "--summarize", "--block-size=1", &at]);
        let used = used.split_whitespace().next().expect("a number");
        self.files.set(used.parse().expect("a number"));
        out(&["umount", &at]);
        drop(volume);
        clock
    }

    /// The time of `create` of the first container of an image, less that of a second container.
    pub fn of_layers(&self) -> Clock {
        settle();
        let mut clock = Clock::default();
        let [first, second] = [(); 2].map(|()| {
            let (bundle, mut clock) = (self.bundles.bundle(Root::Shared), Clock::default());
            clock.step("create", || bundle.create());
            clock.total()
        });
        clock.add("base", first - second);
        self.bundles.remove_bases();
        clock
    }

    pub fn import(&self) -> Clock {
        settle();
        let mut clock = Clock::default();
        clock.step("base", || {
            out(&["sharedroot", "image", "import", &self.source.archive(), "bench"])
        });
        out(&["sharedroot", "image", "rm", "bench"]);
        clock
    }

    /// The bytes of the pool that a base uses, and the bytes that its files use on a file system of their own.
    pub fn sizes(&self) -> (u64, u64) {
        let used = || -> u64 {
            let status = run(&["sharedroot", "pool", "status", "--json"]).json();
            status["data"]["used_bytes"].as_u64().expect("a number")
        };
        let before = used();
        out(&["sharedroot", "image", "import", &self.source.archive(), "bench"]);
        let after = used();
        out(&["sharedroot", "image", "rm", "bench"]);
        (after - before, self.files.get())
    }

    /// The memory of the largest process of each arm, in KiB.
    pub fn peaks(&self) -> [(&'static str, u64); 2] {
        let import = peak(&["sharedroot", "image", "import", &self.source.archive(), "bench"]);
        self.bundles.remove_bases();
        let create = peak(&self.bundles.bundle(Root::Shared).create_words());
        self.bundles.remove_bases();
        [(IMPORT, import), (LAYERS, create)]
    }
}

fn untar(layer: &str, to: &str) {
    out(&["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", layer, "-C", to]);
}

/// Writes everything to the disks, so that writes of the round before do not count for this round.
pub fn settle() {
    out(&["sync"]);
}

fn peak(words: &[&str]) -> u64 {
    let own = std::env::current_exe().expect("the path of this program");
    let own = own.to_str().expect("ASCII");
    out(&[&[own, "peak"], words].concat())
        .lines()
        .last()
        .and_then(|l| l.parse().ok())
        .expect("a number")
}

/// The child: runs the command and prints the peak. Its own is the least that can be seen, and small.
pub fn print_peak_of(command: &[String]) {
    out(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells the peak");
    println!("{}", usage.max_rss());
}
