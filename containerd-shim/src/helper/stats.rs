//! The figures of a container's cgroup in the form that containerd reads. What each figure is made of is what containerd's own
//! shim makes it of (containerd/cgroups, `cgroup2/manager.go`, `Stat`).

use sharedroot_engine::{Device, Figures, Flat, HugePages, Pressure, Rdma, Stalled};
use sharedroot_task::messages::Any;
use sharedroot_task::messages::metrics::*;

/// The answer of `Stats`.
pub fn answer(figures: &Figures) -> Any {
    Any::of(&Metrics {
        pids: Some(PidsStat { current: figures.pids.current, limit: figures.pids.limit }),
        cpu: Some(cpu(&figures.cpu, figures.cpu_pressure)),
        memory: Some(memory(figures)),
        rdma: Some(RdmaStat {
            current: figures.rdma.iter().map(rdma).collect(),
            limit: figures.rdma_limits.iter().map(rdma).collect(),
        }),
        io: Some(IOStat {
            usage: figures.io.iter().map(device).collect(),
            psi: figures.io_pressure.map(pressure),
        }),
        hugetlb: figures.huge_pages.iter().map(huge_pages).collect(),
        memory_events: events(&figures.memory_events),
        // The network is the client's.
        network: Vec::new(),
    })
}

fn cpu(cpu: &Flat, psi: Option<Pressure>) -> CPUStat {
    CPUStat {
        usage_usec: cpu.of("usage_usec"),
        user_usec: cpu.of("user_usec"),
        system_usec: cpu.of("system_usec"),
        nr_periods: cpu.of("nr_periods"),
        nr_throttled: cpu.of("nr_throttled"),
        throttled_usec: cpu.of("throttled_usec"),
        psi: psi.map(pressure),
        nr_bursts: cpu.of("nr_bursts"),
        burst_usec: cpu.of("burst_usec"),
    }
}

fn memory(figures: &Figures) -> MemoryStat {
    let Figures { memory, memory_usage, swap, .. } = figures;
    MemoryStat {
        anon: memory.of("anon"),
        file: memory.of("file"),
        kernel_stack: memory.of("kernel_stack"),
        slab: memory.of("slab"),
        sock: memory.of("sock"),
        shmem: memory.of("shmem"),
        file_mapped: memory.of("file_mapped"),
        file_dirty: memory.of("file_dirty"),
        file_writeback: memory.of("file_writeback"),
        anon_thp: memory.of("anon_thp"),
        inactive_anon: memory.of("inactive_anon"),
        active_anon: memory.of("active_anon"),
        inactive_file: memory.of("inactive_file"),
        active_file: memory.of("active_file"),
        unevictable: memory.of("unevictable"),
        slab_reclaimable: memory.of("slab_reclaimable"),
        slab_unreclaimable: memory.of("slab_unreclaimable"),
        pgfault: memory.of("pgfault"),
        pgmajfault: memory.of("pgmajfault"),
        workingset_refault: memory.of("workingset_refault"),
        workingset_activate: memory.of("workingset_activate"),
        workingset_nodereclaim: memory.of("workingset_nodereclaim"),
        pgrefill: memory.of("pgrefill"),
        pgscan: memory.of("pgscan"),
        pgsteal: memory.of("pgsteal"),
        pgactivate: memory.of("pgactivate"),
        pgdeactivate: memory.of("pgdeactivate"),
        pglazyfree: memory.of("pglazyfree"),
        pglazyfreed: memory.of("pglazyfreed"),
        thp_fault_alloc: memory.of("thp_fault_alloc"),
        thp_collapse_alloc: memory.of("thp_collapse_alloc"),
        usage: memory_usage.current,
        usage_limit: memory_usage.limit,
        swap_usage: swap.current,
        swap_limit: swap.limit,
        max_usage: memory_usage.peak,
        swap_max_usage: swap.peak,
        psi: figures.memory_pressure.map(pressure),
    }
}

/// None if the memory controller is off.
fn events(events: &Flat) -> Option<MemoryEvents> {
    (!events.is_empty()).then(|| MemoryEvents {
        low: events.of("low"),
        high: events.of("high"),
        max: events.of("max"),
        oom: events.of("oom"),
        oom_kill: events.of("oom_kill"),
        oom_group_kill: events.of("oom_group_kill"),
    })
}

fn pressure(pressure: Pressure) -> PSIStats {
    let data = |Stalled { avg10, avg60, avg300, total }| PSIData { avg10, avg60, avg300, total };
    PSIStats { some: pressure.some.map(data), full: pressure.full.map(data) }
}

fn device(device: &Device) -> IOEntry {
    let Device { major, minor, rbytes, wbytes, rios, wios } = *device;
    IOEntry { major, minor, rbytes, wbytes, rios, wios }
}

fn rdma(entry: &Rdma) -> RdmaEntry {
    RdmaEntry {
        device: entry.device.clone(),
        hca_handles: entry.handles,
        hca_objects: entry.objects,
    }
}

fn huge_pages(pages: &HugePages) -> HugeTlbStat {
    HugeTlbStat {
        current: pages.current,
        max: pages.limit,
        pagesize: pages.size.clone(),
        failcnt: pages.failures,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Each figure is the one of its file and key, by values that differ.
    #[test]
    fn each_figure_comes_from_its_file() {
        let dir = std::env::temp_dir().join(format!("shim-stats-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let stats = "anon 1\nfile 2\nkernel_stack 3\nslab 4\nsock 5\nshmem 6\nfile_mapped 7\nfile_dirty 8\nfile_writeback 9\n\
             anon_thp 10\ninactive_anon 11\nactive_anon 12\ninactive_file 13\nactive_file 14\nunevictable 15\n\
             slab_reclaimable 16\nslab_unreclaimable 17\npgfault 18\npgmajfault 19\npgscan 20\n";
        for (name, text) in [
            (
                "cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nnr_throttled 8\nthrottled_usec 6\n",
            ),
            ("cpu.pressure", "some avg10=0.10 avg60=0.00 avg300=0.00 total=5\n"),
            ("memory.stat", stats),
            ("memory.current", "100\n"),
            ("memory.max", "max\n"),
            ("memory.peak", "101\n"),
            ("memory.swap.max", "102\n"),
            ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"),
            ("pids.current", "2\n"),
            ("pids.max", "max\n"),
            ("io.stat", "254:1 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n"),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        let any = answer(&Figures::read(&dir));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
        let metrics: Metrics = any.read().unwrap().unwrap();
        assert_eq!(metrics.pids, Some(PidsStat { current: 2, limit: u64::MAX }));
        let cpu = metrics.cpu.unwrap();
        assert_eq!([cpu.usage_usec, cpu.user_usec, cpu.system_usec], [7, 4, 3]);
        assert_eq!([cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec], [9, 8, 6]);
        assert_eq!(cpu.psi.unwrap().some.unwrap().total, 5);
        let memory = metrics.memory.unwrap();
        assert_eq!([memory.anon, memory.file_writeback, memory.pgscan], [1, 9, 20]);
        assert_eq!([memory.usage, memory.usage_limit, memory.max_usage], [100, u64::MAX, 101]);
        assert_eq!([memory.swap_usage, memory.swap_limit], [0, 102]);
        assert_eq!(memory.psi, None);
        let events = metrics.memory_events.unwrap();
        assert_eq!([events.low, events.high, events.max], [1, 2, 3]);
        assert_eq!([events.oom, events.oom_kill, events.oom_group_kill], [4, 5, 6]);
        let io = metrics.io.unwrap().usage;
        assert_eq!(
            io,
            [IOEntry { major: 254, minor: 1, rbytes: 4096, wbytes: 1, rios: 2, wios: 3 }]
        );
    }
}
