//! The host's memory while guests run.
//!
//! The memory and the disks of the guests are files in memory. When the page cache has taken the rest of the host's memory, every
//! new page of a guest waits until the kernel has reclaimed another one, and all guests are several times slower (docs/lab.md).
//! Compilers and images fill the page cache, so it is emptied in time. That costs nothing but reading a file again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// How often the memory is looked at.
const OFTEN: Duration = Duration::from_secs(1);

/// A figure of `/proc/meminfo`, in KiB.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let figure = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    figure.split_whitespace().next()?.parse().ok()
}

/// Empties the page cache whenever a fifth of the memory is no longer free, until `done`.
pub fn keep_free(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if is_short() == Some(true) {
            // Where this may not be written, the guests are slow.
            let _ = fs::write("/proc/sys/vm/drop_caches", "1");
        }
        sleep(OFTEN);
    }
}

/// Whether there is little free memory, and a cache worth emptying.
fn is_short() -> Option<bool> {
    let total = meminfo("MemTotal")?;
    // What is in /dev/shm counts as cached.
    let cache = meminfo("Cached")?.saturating_sub(meminfo("Shmem")?);
    Some(meminfo("MemFree")? < total / 5 && cache > total / 10)
}
