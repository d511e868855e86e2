//! Phase 3: the data that an idle writable container writes to the pool, beside a container with the settings of Docker's
//! devmapper driver. Both run on the raw arm's pool, one after another.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cycles::Arm;
use crate::filesystem;
use crate::mounts::{self, drop_caches};
use crate::place::{BLOCK, Place};
use crate::raw::Raw;

/// How many containers are idle at once. The figure of one container is an average.
const CONTAINERS: u32 = 5;
/// The first thin id of this phase. No other phase uses these ids.
const IDS: u32 = 1 << 20;

/// Bytes of pool data of one container.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// After it was mounted, a process was started in it, it was left alone, and it was synced.
    pub idle: f64,
    /// After it was unmounted, too.
    pub unmounted: f64,
}

/// What the phase found.
#[derive(Debug)]
pub struct Idle {
    pub seconds: u64,
    pub ours: Written,
    pub docker: Written,
}

pub fn run(place: &Place, raw: &Raw, tree: &Path, seconds: u64) -> Idle {
    let (ours, docker) = (IDS, IDS + 1);
    let device = raw.make_thin(ours, "bench-idle-base");
    filesystem::make_as_we_do(&device, tree);
    raw.kernel.remove("bench-idle-base");

    let at = place.dir("mnt-idle");
    let device = raw.make_thin(docker, "bench-idle-base");
    filesystem::make_as_docker_did(&device);
    mounts::default(&device, &at);
    filesystem::fill(tree, &at);
    mounts::unmount(&at);
    raw.kernel.remove("bench-idle-base");

    Idle {
        seconds,
        ours: idle(place, raw, ours, mounts::plain, seconds),
        docker: idle(place, raw, docker, mounts::default, seconds),
    }
}

fn idle(place: &Place, raw: &Raw, origin: u32, mount: fn(&Path, &Path), seconds: u64) -> Written {
    drop_caches();
    let before = raw.kernel.used(&raw.pool()).data;
    let written = || {
        let blocks = raw.kernel.used(&raw.pool()).data - before;
        (blocks * BLOCK.0) as f64 / f64::from(CONTAINERS)
    };
    let name = |number: u32| format!("bench-idle-{number}");
    let at = |number: u32| -> PathBuf { place.dir(&format!("mnt-idle-{number}")) };
    let mut sleepers: Vec<Child> = (0..CONTAINERS)
        .map(|number| {
            raw.snapshot(IDS + 2 + number, origin);
            mount(&raw.activate(IDS + 2 + number, &name(number)), &at(number));
            let mut sleeper = Command::new("chroot");
            sleeper.arg(at(number)).args(["/bin/sleep", "3600"]);
            sleeper.spawn().expect("start a process in a container")
        })
        .collect();
    std::thread::sleep(Duration::from_secs(seconds));
    rustix::fs::sync();
    let idle = written();
    for sleeper in &mut sleepers {
        sleeper.kill().expect("end a process");
        sleeper.wait().expect("wait for a process");
    }
    for number in 0..CONTAINERS {
        mounts::unmount(&at(number));
        raw.kernel.remove(&name(number));
    }
    let unmounted = written();
    (0..CONTAINERS).for_each(|number| raw.delete_thin(IDS + 2 + number));
    Written { idle, unmounted }
}

impl Idle {
    pub fn json(&self) -> Value {
        let of = |w: Written| json!({"idle": w.idle, "unmounted": w.unmounted});
        json!({"seconds": self.seconds, "ours_bytes": of(self.ours), "docker_bytes": of(self.docker)})
    }
}
