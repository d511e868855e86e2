//! One container, from `docker run` to its first useful work.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use sharedroot_bench::disks::{Traffic, begin, traffic};
use sharedroot_tests::command::out;
use sharedroot_tests::docker::docker;

use crate::arm::{Arm, creates};
use crate::images::Image;

/// The disks of the pool's data and metadata.
pub const DATA: &str = "data";
pub const METADATA: &str = "metadata";
/// The disk of the layers, and of everything else that Docker stores.
pub const DOCKER: &str = "docker";
/// The disk of the pool's store.
pub const STORE: &str = "store";
/// The disk of the guest's programs, with Docker and the runtimes.
pub const PROGRAMS: &str = "programs";

const DISKS: [(&str, &str); 5] =
    [(DATA, "ubdc"), (METADATA, "ubdd"), (DOCKER, "ubdb"), (STORE, "ubde"), (PROGRAMS, "ubda")];

/// The results of one container.
#[derive(Debug, Clone, Serialize)]
pub struct Hello {
    pub ms: f64,
    /// The sectors of 512 bytes until then, by the role of the disk.
    pub disks: BTreeMap<&'static str, Traffic>,
    /// The number of checks whether the work is done.
    looks: usize,
}

impl Hello {
    /// KiB read from some disks.
    pub fn read_kib(&self, roles: &[&str]) -> f64 {
        roles.iter().map(|role| self.disks[role].read as f64 / 2.0).sum()
    }
}

/// Runs a container, waits for its work, and removes it. The removal is not measured.
pub fn hello(image: &Image, arm: Arm) -> Hello {
    assert!(!image.work.is_seen(), "{}: done before the container is made", image.name);
    let before = creates().len();
    let mut command = Command::new("docker");
    command.args(["run", "--name=hello", "--network=host"]).args(arm.flags());
    command.args(image.words(arm.readonly())).stdin(Stdio::null()).stdout(Stdio::piped());
    // Writes of the container before must not count for this one.
    out(&["sync"]);
    let disks = begin(&DISKS);
    let start = Instant::now();
    let mut docker_run = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let looks = image.work.wait(&mut docker_run);
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let disks = traffic(&disks);
    let status = docker_run.wait().expect("wait for docker run");
    assert!(status.success(), "{command:?}: {status}");
    docker(&["rm", "--force", "hello"]).ok();
    arm.check(before);
    Hello { ms, disks, looks }
}
