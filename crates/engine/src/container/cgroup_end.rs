//! The end of a container's cgroup. The container may have made many cgroups below it, nested deeper than a path can
//! express.
//!
//! Nothing here uses a path below the container's own cgroup: each directory is opened from the descriptor of its
//! parent, one at a time. So sharedroot sets no bound for names or depth. Time has a bound, whatever the container has
//! made.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode};
use rustix::io::Errno;
use rustix::process::Signal;

use super::cgroup_processes::{DIRECTORY, LONGEST, directory, members, pids_in, write};
use super::signal;

/// How long killed processes may take to leave one cgroup.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
/// Kills the processes in a cgroup and in the cgroups below it, and removes all of these cgroups, the deepest first.
pub(crate) fn end(dir: &Path) {
    let end = Instant::now() + LONGEST;
    if end_all_below(dir, end).is_ok() {
        while Instant::now() < end {
            match std::fs::remove_dir(dir) {
                Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => sleep(PAUSE),
                _ => break,
            }
        }
    }
}

/// Kills and removes like [`end`], but leaves the cgroup itself for the caller or systemd, which made the cgroup, to
/// remove.
pub(crate) fn end_below(dir: &Path) {
    let _ = end_all_below(dir, Instant::now() + LONGEST);
}

/// Removes a cgroup without processes, and those below it. One that somebody has taken meanwhile stays.
pub(crate) fn remove_empty(dir: &Path) {
    let end = Instant::now() + LONGEST;
    let top = rustix::fs::open(dir, DIRECTORY, Mode::empty());
    if top.is_ok_and(|top| remove_below(top, None, Duration::ZERO, end).is_ok()) {
        let _ = std::fs::remove_dir(dir);
    }
}

fn end_all_below(dir: &Path, end: Instant) -> Result<(), Errno> {
    let top = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    // The file also kills processes in cgroups below, and processes that are being cloned (admin-guide/cgroup-v2.rst,
    // "cgroup.kill").
    let killed = write(&top, "cgroup.kill", "1");
    remove_below(top, (!killed).then_some(dir), PATIENCE, end)
}

/// Removes every directory below `top`, the deepest first. The processes in the cgroup `kill` are killed one by one, where each
/// is found: `cgroup.kill` exists since Linux 5.14. Processes may take `patience` to leave one cgroup.
fn remove_below(
    top: OwnedFd,
    kill: Option<&Path>,
    patience: Duration,
    end: Instant,
) -> Result<(), Errno> {
    let mut here = top;
    let mut way: Vec<CString> = Vec::new();
    loop {
        // The check is also made on the way down: a process outside may make directories here for as long as this loop
        // runs.
        if Instant::now() >= end {
            return Err(Errno::TIMEDOUT);
        }
        if let Some(whole) = kill
            && let Ok(pids) = pids_in(&here)
        {
            let still = |some: &[i32]| members(whole, some, || pids_in(&here));
            let _ = signal::send_to_all(&pids, still, Signal::KILL, end, |e: io::Error| e);
        }
        if let Some(name) = first_below(&here)? {
            here = rustix::fs::openat(&here, &name, DIRECTORY, Mode::empty())?;
            way.push(name);
            continue;
        }
        let Some(name) = way.pop() else { return Ok(()) };
        here = rustix::fs::openat(&here, "..", DIRECTORY, Mode::empty())?;
        let busy = Instant::now() + patience;
        loop {
            match rustix::fs::unlinkat(&here, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::BUSY) if Instant::now() < busy.min(end) => sleep(PAUSE),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// The name of one directory in `dir`. When that directory has been removed, the next call finds the next one.
fn first_below(dir: &OwnedFd) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(dir)? {
        if let Some(name) = directory(&entry?) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;

    use super::*;

    /// Directories of an ordinary file system are made and removed like cgroups.
    #[test]
    fn neither_long_names_nor_depth_nor_number_matter() {
        let place = std::env::temp_dir().join(format!("sharedroot-cgroups-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut deep = rustix::fs::open(&place, flags, Mode::empty()).unwrap();
        let name = "n".repeat(255);
        for _ in 0..2000 {
            rustix::fs::mkdirat(&deep, &*name, Mode::RWXU).unwrap();
            deep = rustix::fs::openat(&deep, &*name, flags, Mode::empty()).unwrap();
        }
        (0..2000).for_each(|n| std::fs::create_dir(place.join(format!("flat-{n}"))).unwrap());
        end(&place);
        assert!(!place.exists());
    }

    #[test]
    fn what_cannot_be_removed_takes_no_longer_than_the_bound() {
        let place = std::env::temp_dir().join(format!("sharedroot-busy-{}", std::process::id()));
        std::fs::create_dir_all(place.join("one/two")).unwrap();
        std::fs::write(place.join("one/two/file"), "no cgroup has it").unwrap();
        let began = Instant::now();
        end(&place);
        assert!(began.elapsed() < LONGEST);
        assert!(place.join("one/two/file").exists());
        std::fs::remove_dir_all(&place).unwrap();
    }
}
