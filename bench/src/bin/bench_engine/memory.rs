//! All arms in turn: the memory of several containers at once.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;
use sharedroot_bench::Times;
use sharedroot_bench::memory::{figures, processes, rollup};
use sharedroot_tests::command::out;

use crate::arm::Arm;
use crate::client::{Client, Work};
use crate::turns::order;

/// How often each arm has its turn.
const TURNS: usize = 3;
/// The name of the shims' processes, containerd's own and ours, as far as the kernel keeps it.
pub const SHIM: &str = "containerd-shim";
/// The daemons. They grow with use, whatever the shim is, and do not shrink.
const DAEMONS: [&str; 2] = ["containerd", "dockerd"];

/// The machine at one moment, or the difference of two moments for each container.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Look {
    /// Proportional memory of the shims, in kB.
    pub shims: f64,
    /// The processes of the shims.
    pub processes: f64,
    /// Slab, percpu, kernel stacks and page tables, in kB.
    pub kernel: f64,
    /// Anonymous memory of all processes but the daemons, in kB.
    pub anonymous: f64,
    /// MemTotal less MemAvailable, without the daemons' proportional memory, in kB.
    pub used: f64,
    /// Mounts of the host.
    pub mounts: f64,
}

impl Look {
    /// Looks, after everything that can be dropped was dropped.
    pub fn now() -> Self {
        sleep(Duration::from_secs(1));
        out(&["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
        let meminfo = figures("/proc/meminfo");
        let kb = |name: &str| meminfo[name] as f64;
        let shims = processes(Some(SHIM)).1;
        let daemons: Vec<i32> = DAEMONS.iter().flat_map(|name| processes(Some(name)).1).collect();
        let own = |pid: &i32| figures(&format!("/proc/{pid}/smaps_rollup"))["Anonymous"] as f64;
        let pss = |pids: &[i32]| pids.iter().map(|pid| rollup(*pid).0 as f64).sum::<f64>();
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("read the mount table");
        Self {
            shims: pss(&shims),
            processes: shims.len() as f64,
            kernel: ["Slab", "Percpu", "KernelStack", "PageTables"]
                .iter()
                .map(|name| kb(name))
                .sum(),
            anonymous: kb("AnonPages") - daemons.iter().map(own).sum::<f64>(),
            used: kb("MemTotal") - kb("MemAvailable") - pss(&daemons),
            mounts: mounts.lines().count() as f64,
        }
    }

    /// What each of some containers takes that were made since.
    pub fn each(&self, before: &Self, containers: usize) -> Self {
        let each = |figure: fn(&Self) -> f64| (figure(self) - figure(before)) / containers as f64;
        Self {
            shims: each(|look| look.shims),
            processes: each(|look| look.processes),
            kernel: each(|look| look.kernel),
            anonymous: each(|look| look.anonymous),
            used: each(|look| look.used),
            mounts: each(|look| look.mounts),
        }
    }
}

/// What each container takes, by arm, in each turn.
pub type Memory = BTreeMap<&'static str, Vec<Look>>;

/// A figure of the looks.
pub type Figure = fn(&Look) -> f64;

/// The median of one figure.
pub fn median(memory: &Memory, arm: Arm, figure: Figure) -> f64 {
    let mut all = Times::default();
    memory[arm.name()].iter().for_each(|look| all.push(figure(look)));
    all.median()
}

/// Runs some containers of each arm at once, arm by arm.
pub fn run<C: Client>(client: &C, containers: usize) -> Memory {
    let mut memory = Memory::new();
    for turn in 0..TURNS {
        for arm in order(C::ARMS, turn) {
            let before = Look::now();
            let all: Vec<_> = (0..containers).map(|_| client.start(arm, Work::Pause).1).collect();
            let each = Look::now().each(&before, containers);
            memory.entry(arm.name()).or_default().push(each);
            all.into_iter().for_each(|container| drop(client.delete(container)));
        }
        eprintln!("engine: {}: memory, turn {} of {TURNS}", C::NAME, turn + 1);
    }
    memory
}
