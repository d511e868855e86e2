//! The last phase: does a start cost more where the host has a thousand mounts?

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sharedroot_bench::{Clock, Samples};

use crate::options::Options;
use crate::place::Place;
use crate::runtime::{Arms, call, wait};

/// The small number of mounts.
pub const FEW: usize = 20;
/// The rounds with few mounts, and the rounds with many mounts.
const BLOCK: usize = 20;

/// The times of create + start, with few mounts and with many.
#[derive(Debug)]
pub struct Crowd {
    pub mounts: usize,
    pub few: Samples,
    pub many: Samples,
}

pub fn run(place: &Place, arms: &Arms, options: &Options) -> Crowd {
    let mut found =
        Crowd { mounts: options.mounts, few: Samples::default(), many: Samples::default() };
    let dir = place.dir("crowd");
    for _ in 0..options.rounds.div_ceil(BLOCK) {
        for (samples, number) in [(&mut found.few, 0), (&mut found.many, options.mounts)] {
            let crowd = Mounts::new(&dir, number.saturating_sub(FEW));
            block(arms, samples);
            drop(crowd);
        }
    }
    found
}

fn block(arms: &Arms, samples: &mut Samples) {
    for round in 0..=BLOCK {
        for arm in &arms.all {
            let (mut clock, create, start) = (Clock::default(), arm.create_true(), arm.start());
            clock.step("create", || call(&create));
            let init = arm.init();
            clock.step("start", || call(&start));
            wait(&init);
            call(&arm.delete());
            // The first round after a change of the mounts does not count, because the caches differ.
            if round > 0 {
                samples.file(arm.name, "create + start", &clock);
            }
        }
    }
}

/// Mounts that no container uses. Dropping this value unmounts them.
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn new(dir: &Path, number: usize) -> Self {
        let at = |n: usize| {
            let path = dir.join(n.to_string());
            fs::create_dir_all(&path).expect("a mount point");
            mount("crowd", &path, "tmpfs", MountFlags::empty(), None).expect("mount a tmpfs");
            path
        };
        Self((0..number).map(at).collect())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for path in &self.0 {
            unmount(path, UnmountFlags::empty()).expect("unmount a tmpfs");
        }
    }
}
