//! Reads from and writes to the disks, by the role of each disk.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// A disk, and its counters at the beginning.
#[derive(Debug)]
pub struct Disk {
    role: &'static str,
    /// `ubdc`, as in /proc/diskstats.
    name: &'static str,
    before: Traffic,
}

/// Sectors of 512 bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Traffic {
    /// Sectors that the kernel read, with read-ahead.
    pub read: u64,
    /// Sectors that were written to the disk, without data that waits in memory.
    pub written: u64,
}

/// Takes the counters of disks, each with its role and its name in the kernel.
///
/// # Panics
/// If the machine has no such disk, because it is not a guest of the lab with `--pool device`.
#[must_use]
pub fn begin(disks: &[(&'static str, &'static str)]) -> Vec<Disk> {
    disks.iter().map(|&(role, name)| Disk { role, name, before: of(name) }).collect()
}

/// The sectors read and written since then, by role.
///
/// # Panics
/// If a disk is gone.
#[must_use]
pub fn traffic(disks: &[Disk]) -> BTreeMap<&'static str, Traffic> {
    let since = |disk: &Disk| {
        let now = of(disk.name);
        let (read, written) = (now.read - disk.before.read, now.written - disk.before.written);
        (disk.role, Traffic { read, written })
    };
    disks.iter().map(since).collect()
}

/// Documentation/admin-guide/iostats.rst: major, minor, name, reads, merged, sectors read, ms, writes, merged, sectors
/// written.
fn of(name: &str) -> Traffic {
    let text = fs::read_to_string("/proc/diskstats").expect("read /proc/diskstats");
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = words.into_iter().find(|words| words.get(2) == Some(&name));
    let words =
        found.unwrap_or_else(|| panic!("/proc/diskstats has no {name}: run it by hack/bench"));
    let number = |at: usize| words[at].parse().expect("a number of sectors");
    Traffic { read: number(5), written: number(9) }
}
