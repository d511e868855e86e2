//! The peak memory of a process that does what `create`, `delete` and `gc` do with the pool.

use std::path::Path;

use sharedroot_dm::{Pool, Reconcile};
use sharedroot_tests::command::Cmd;

use crate::ours;
use crate::place::text;

/// Runs this program as such a process on the pool in `state`, and returns its peak memory in KiB.
pub fn peak_of_child(state: &Path) -> u64 {
    let own = std::env::current_exe().expect("the path of this program");
    let printed = Cmd::new(text(&own)).args(&["peak", text(state)]).run().ok();
    printed.parse().unwrap_or_else(|e| panic!("{printed}: {e}"))
}

/// Opens the pool, takes a snapshot and keeps it, lists, reconciles, deletes. Then prints the peak memory.
pub fn print_own_peak(state: &Path) {
    let pool = Pool::open(&ours::config(state)).expect("open the pool");
    let name = "peak".parse().expect("a volume name");
    pool.snapshot(&ours::base(), &name).expect("take a snapshot").keep().expect("keep it");
    pool.volumes().expect("list the volumes");
    pool.reconcile(Reconcile::Apply).expect("reconcile");
    pool.delete(&name).expect("delete the snapshot");
    drop(pool);
    let status = std::fs::read_to_string("/proc/self/status").expect("read our own status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).expect("the kernel tells the peak");
    println!("{kib}");
}
