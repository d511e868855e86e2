//! A container's resource figures in runc's form (`types.Stats`): nanoseconds and bytes.
//!
//! The figures of cgroup v2 come from `figures`, those of v1 from libcgroups. A controller that is off has the figure 0.

use std::path::{Path, PathBuf};

use libcgroups::stats::{BlkioDeviceStat, MemoryData, Stats};
use serde_json::{Map, Value, json};
use sharedroot_sys::process;

use super::figures::{Device, Figures, Flat, Usage};

/// The cgroup v2 directory of a process, if this host has the unified hierarchy.
#[must_use]
pub fn unified(pid: i32) -> Option<PathBuf> {
    process::has_unified_cgroups().then_some(())?;
    Some(Path::new(process::CGROUPS).join(process::cgroup(pid).ok()??))
}

/// The figures of a cgroup v2 directory.
#[must_use]
pub fn of_unified(dir: &Path) -> Value {
    let Figures { cpu, memory, memory_events, memory_usage, swap, pids, io, .. } =
        Figures::read(dir);
    let data = |usage: Usage, failures: u64| {
        json!({
            "usage": usage.current,
            "limit": usage.limit,
            "max": usage.peak,
            "failcnt": failures,
        })
    };
    let raw: Map<String, Value> =
        memory.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let (bytes, operations) = of_devices(&io);
    json!({
        "cpu": {
            "usage": {
                "total": nanoseconds(&cpu, "usage_usec"),
                "kernel": nanoseconds(&cpu, "system_usec"),
                "user": nanoseconds(&cpu, "user_usec"),
            },
            "throttling": {
                "periods": cpu.of("nr_periods"),
                "throttledPeriods": cpu.of("nr_throttled"),
                "throttledTime": nanoseconds(&cpu, "throttled_usec"),
            },
        },
        "memory": {
            "cache": memory.of("file"),
            "usage": data(memory_usage, memory_events.of("max")),
            "swap": data(swap, 0),
            "raw": raw,
        },
        "pids": { "current": pids.current, "limit": if pids.limit == u64::MAX { 0 } else { pids.limit } },
        "blkio": { "ioServiceBytesRecursive": bytes, "ioServicedRecursive": operations },
    })
}

/// The kernel counts in microseconds.
fn nanoseconds(figures: &Flat, key: &str) -> u64 {
    figures.of(key).saturating_mul(1000)
}

/// Bytes and operations.
fn of_devices(devices: &[Device]) -> (Vec<Value>, Vec<Value>) {
    let rows = |pick: fn(&Device) -> [u64; 2]| -> Vec<Value> {
        let row = |device: &Device| {
            let Device { major, minor, .. } = *device;
            let values = ["Read", "Write"].into_iter().zip(pick(device));
            values.map(move |(op, value)| {
                json!({ "major": major, "minor": minor, "op": op, "value": value })
            })
        };
        devices.iter().flat_map(row).collect()
    };
    (rows(|device| [device.rbytes, device.wbytes]), rows(|device| [device.rios, device.wios]))
}

/// The figures that libcgroups read of cgroup v1 hierarchies.
#[must_use]
pub fn of_v1(stats: &Stats) -> Value {
    let data = |d: &MemoryData| json!({ "limit": d.limit, "usage": d.usage, "max": d.max_usage, "failcnt": d.fail_count });
    let block = |list: &[BlkioDeviceStat]| -> Vec<Value> {
        list.iter()
            .map(|s| {
                let op = s.op_type.as_deref().unwrap_or_default();
                json!({ "major": s.major, "minor": s.minor, "op": op, "value": s.value })
            })
            .collect()
    };
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    json!({
        "cpu": {
            "usage": {
                "total": cpu.usage.usage_total,
                "percpu": cpu.usage.per_core_usage_total,
                "kernel": cpu.usage.usage_kernel,
                "user": cpu.usage.usage_user,
            },
            "throttling": {
                "periods": cpu.throttling.periods,
                "throttledPeriods": cpu.throttling.throttled_periods,
                "throttledTime": cpu.throttling.throttled_time,
            },
        },
        "memory": {
            "cache": memory.cache,
            "usage": data(&memory.memory),
            "swap": data(&memory.memswap),
            "kernel": data(&memory.kernel),
            "kernelTCP": data(&memory.kernel_tcp),
            "raw": memory.stats,
        },
        "pids": { "current": stats.pids.current, "limit": stats.pids.limit },
        "blkio": {
            "ioServiceBytesRecursive": block(&stats.blkio.service_bytes),
            "ioServicedRecursive": block(&stats.blkio.serviced),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_become_runcs_entries() {
        let device = Device { major: 254, minor: 1, rbytes: 4096, rios: 1, ..Device::default() };
        let (bytes, operations) = of_devices(&[device]);
        assert_eq!(bytes[0], json!({"major": 254, "minor": 1, "op": "Read", "value": 4096}));
        assert_eq!(operations[1], json!({"major": 254, "minor": 1, "op": "Write", "value": 0}));
    }

    #[test]
    fn a_controller_that_is_off_counts_nothing() {
        let stats = of_unified(Path::new("/nowhere"));
        assert_eq!(stats["memory"]["usage"]["usage"], 0);
        assert_eq!(stats["pids"]["limit"], 0);
    }
}
