//! The state of the machine while a number of pods run.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde::Serialize;
use sharedroot_bench::memory::{Figures, figures, processes, rollup};
use sharedroot_tests::command::run;

use crate::disks::{self, Disk, Traffic};
use crate::pods::Pods;

/// The state of the machine at one moment.
#[derive(Debug, Serialize)]
pub struct Look {
    /// The number of running pods.
    pub pods: usize,
    /// `/proc/meminfo`, kB.
    pub meminfo: Figures,
    /// `memory.stat` of the cgroup above all pods, bytes.
    pub cgroup: Figures,
    /// Of the pods' processes, kB: proportional and own memory.
    pub pss: u64,
    pub uss: u64,
    /// Proportional and own memory of the engine's process for each container, kB.
    pub shim_pss: Option<u64>,
    /// 512-byte sectors since the mode began, by what the disk is for.
    pub disks: BTreeMap<&'static str, Traffic>,
    pub mounts: usize,
    /// A read of this process's mountinfo.
    pub mountinfo_ms: f64,
    pub dm_devices: usize,
    pub kernel_threads: usize,
    /// Blocks in use.
    pub pool: Option<Pool>,
    /// The engine's list of containers.
    pub list_ms: Option<f64>,
}

/// Of the pool's status.
#[derive(Debug, Serialize)]
pub struct Pool {
    pub metadata_blocks: u64,
    pub data_blocks: u64,
}

impl Look {
    pub fn at(pods: &dyn Pods, running: usize, disks: &[Disk]) -> Self {
        let disks = disks::traffic(disks);
        let meminfo = figures("/proc/meminfo");
        let cgroup = figures(&format!("{}/memory.stat", pods.cgroup()));
        let (pss, uss) = (0..running).map(|pod| rollup(pods.pid(pod))).fold((0, 0), add);
        let start = Instant::now();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
        let mountinfo_ms = start.elapsed().as_secs_f64() * 1e3;
        let (kernel_threads, shims) = processes(pods.shim());
        Self {
            pods: running,
            meminfo,
            cgroup,
            pss,
            uss,
            shim_pss: pods.shim().map(|_| shims.iter().map(|pid| rollup(*pid).0).sum()),
            disks,
            mounts: mountinfo.lines().count(),
            mountinfo_ms,
            dm_devices: dm_devices(),
            kernel_threads,
            pool: pool(),
            list_ms: pods.list(),
        }
    }

    /// Used memory in kB, with the page cache. Caches were dropped before the mode began.
    pub fn used_kb(&self) -> f64 {
        self.kb("MemTotal") - self.kb("MemFree")
    }

    /// A line of meminfo.
    pub fn kb(&self, name: &str) -> f64 {
        *self.meminfo.get(name).unwrap_or_else(|| panic!("/proc/meminfo has no {name}")) as f64
    }

    /// Memory of the kernel itself, in kB.
    pub fn kernel_kb(&self) -> f64 {
        ["Slab", "Percpu", "KernelStack", "PageTables"].iter().map(|name| self.kb(name)).sum()
    }

    /// kB of one line of the cgroup's.
    pub fn cgroup_kb(&self, name: &str) -> f64 {
        self.cgroup.get(name).copied().unwrap_or(0) as f64 / 1024.0
    }
}

fn add(sum: (u64, u64), one: (u64, u64)) -> (u64, u64) {
    (sum.0 + one.0, sum.1 + one.1)
}

fn dm_devices() -> usize {
    let list = fs::read_dir("/sys/block").expect("list /sys/block").flatten();
    list.filter(|entry| entry.file_name().to_string_lossy().starts_with("dm-")).count()
}

/// `0 SECTORS thin-pool TRANSACTION USED/ALL-METADATA USED/ALL-DATA …` (the kernel's documentation of dm-thin); nothing while
/// the pool is not active.
fn pool() -> Option<Pool> {
    let said = run(&["dmsetup", "status", "sharedroot-default"]);
    if said.status != 0 {
        return None;
    }
    let words: Vec<_> = said.stdout.split_whitespace().collect();
    let used = |at: usize| words.get(at)?.split_once('/')?.0.parse().ok();
    Some(Pool { metadata_blocks: used(4)?, data_blocks: used(5)? })
}
