//! Memory and processes, as `/proc` tells them.

use std::collections::BTreeMap;
use std::fs;

/// The names and numbers of a file in /proc or of a cgroup.
pub type Figures = BTreeMap<String, u64>;

/// Reads lines of `NAME NUMBER` or `NAME: NUMBER kB`, and leaves out other lines.
///
/// # Panics
/// If the file cannot be read.
#[must_use]
pub fn figures(path: &str) -> Figures {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    let figure = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.trim_end_matches(':').to_owned();
        Some((name, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(figure).collect()
}

/// The proportional and the own memory of a process, in kB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn rollup(pid: i32) -> (u64, u64) {
    // The first line is an address range.
    let of = figures(&format!("/proc/{pid}/smaps_rollup"));
    let kb = |name: &str| of.get(name).copied().unwrap_or(0);
    (kb("Pss"), kb("Private_Clean") + kb("Private_Dirty"))
}

/// How many threads the kernel has, and the processes of a name.
///
/// # Panics
/// If `/proc` cannot be read.
#[must_use]
pub fn processes(name: Option<&str>) -> (usize, Vec<i32>) {
    let (mut kernel, mut named) = (0, Vec::new());
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        // The process may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // proc_pid_stat(5): `PID (COMM) STATE PPID …`; COMM may hold anything.
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        let parent = after.split_whitespace().nth(1);
        kernel += usize::from(parent == Some("2"));
        // The kernel cuts names after 15 bytes.
        let comm = before.split_once('(').map_or("", |(_, comm)| comm);
        if name.is_some_and(|name| comm == &name[..name.len().min(15)]) {
            named.push(pid);
        }
    }
    (kernel, named)
}
