//! What was read from and written to the disks, by what they are for.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// A disk and what it had done when the mode began.
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
    pub read: u64,
    pub written: u64,
}

/// What the pool's data is on.
pub const DATA: &str = "data";
/// What the pool's metadata is on.
pub const METADATA: &str = "metadata";
/// What the layers lie on; without Docker the pool's store, too.
pub const LAYERS: &str = "layers";

/// The lab's disks, seen for the first time. `layers` is the one that the layers lie on.
pub fn begin(layers: &'static str) -> Vec<Disk> {
    [(DATA, "ubdc"), (METADATA, "ubdd"), (LAYERS, layers)]
        .map(|(role, name)| Disk { role, name, before: of(name) })
        .into()
}

/// What each has done since.
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
    let words = found
        .unwrap_or_else(|| panic!("/proc/diskstats has no {name}: run it by hack/bench density"));
    let number = |at: usize| words[at].parse().expect("a number of sectors");
    Traffic { read: number(5), written: number(9) }
}
