//! Units of systemd, and the cgroups of processes in them.

use std::fs;

use crate::command::out;

/// A property of a unit as systemd knows it.
#[track_caller]
pub fn property(unit: &str, name: &str) -> String {
    out(&["systemctl", "show", "--value", "--property", name, unit])
}

/// The cgroup of a process.
#[track_caller]
pub fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a live process");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup 2 line").to_owned()
}
