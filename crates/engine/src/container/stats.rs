//! A container's resource figures in runc's form (`types.Stats`): nanoseconds and bytes.
//!
//! The figures of cgroup v2 are read here, because libcgroups fails on a kernel without pressure-stall information. A
//! controller that is off has the figure 0.

use std::path::{Path, PathBuf};

use libcgroups::stats::{BlkioDeviceStat, MemoryData, Stats};
use serde_json::{Map, Value, json};
use sharedroot_sys::process;

/// The cgroup v2 directory of a process, if this host has the unified hierarchy.
#[must_use]
pub fn unified(pid: i32) -> Option<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    top.join("cgroup.controllers").exists().then_some(())?;
    Some(top.join(process::cgroup(pid).ok()??))
}

/// The figures of a cgroup v2 directory.
#[must_use]
pub fn of_unified(dir: &Path) -> Value {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let flat = |name: &str| keyed(&read(name));
    let number = |name: &str| limit(read(name).trim());
    let memory = |part: &str, failures: u64| {
        json!({
            "usage": number(&format!("memory{part}.current")),
            "limit": number(&format!("memory{part}.max")),
            "max": number(&format!("memory{part}.peak")),
            "failcnt": failures,
        })
    };
    let (cpu, raw, events) = (flat("cpu.stat"), flat("memory.stat"), flat("memory.events"));
    let of =
        |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (bytes, operations) = io(&read("io.stat"));
    json!({
        "cpu": {
            "usage": {
                "total": of(&cpu, "usage_usec") * 1000,
                "kernel": of(&cpu, "system_usec") * 1000,
                "user": of(&cpu, "user_usec") * 1000,
            },
            "throttling": {
                "periods": of(&cpu, "nr_periods"),
                "throttledPeriods": of(&cpu, "nr_throttled"),
                "throttledTime": of(&cpu, "throttled_usec") * 1000,
            },
        },
        "memory": {
            "cache": of(&raw, "file"),
            "usage": memory("", of(&events, "max")),
            "swap": memory(".swap", 0),
            "raw": raw,
        },
        "pids": { "current": number("pids.current"), "limit": match read("pids.max").trim() {
            "max" => 0,
            text => limit(text),
        } },
        "blkio": { "ioServiceBytesRecursive": bytes, "ioServicedRecursive": operations },
    })
}

/// A number, or `max` for no limit.
fn limit(text: &str) -> u64 {
    if text == "max" { u64::MAX } else { text.parse().unwrap_or(0) }
}

/// Reads a flat-keyed file, whose lines are `KEY VALUE`.
fn keyed(text: &str) -> Map<String, Value> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse::<u64>().ok()?.into()))
    };
    text.lines().filter_map(pair).collect()
}

/// Reads lines of the form `MAJOR:MINOR rbytes=… wbytes=… rios=… wios=… …`: bytes and operations.
fn io(text: &str) -> (Vec<Value>, Vec<Value>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let [major, minor] = [limit(major), limit(minor)];
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            list.push(json!({ "major": major, "minor": minor, "op": op, "value": limit(value) }));
        }
    }
    (bytes, operations)
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
    fn io_lines_become_runcs_entries() {
        let (bytes, operations) = io("254:1 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        assert_eq!(bytes[0], json!({"major": 254, "minor": 1, "op": "Read", "value": 4096}));
        assert_eq!(operations.len(), 2);
    }

    #[test]
    fn a_controller_that_is_off_counts_nothing() {
        let stats = of_unified(Path::new("/nowhere"));
        assert_eq!(stats["memory"]["usage"]["usage"], 0);
        assert_eq!(limit("max"), u64::MAX);
        assert_eq!(keyed("a 1\nb x\n").len(), 1);
    }
}
