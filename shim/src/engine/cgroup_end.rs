//! The end of a container's cgroup, which the container may have divided: into many, and deeper than a path can say.
//!
//! Nothing here goes by a path below the container's own cgroup: directories are opened from their parent's descriptor, one at a
//! time, so neither names nor depth have a bound of ours. Time has one, whatever the container has made.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::signal;

/// How long the whole may take: Docker's daemon waits 30 s for `delete`. Then what is left stays, and the library, which finds
/// the cgroup, reports it.
const LONGEST: Duration = Duration::from_secs(20);
/// How long killed processes may take to leave one cgroup.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// Kills what is in a cgroup and in those below it, and removes them, depth first.
pub(super) fn end(dir: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(top) = rustix::fs::open(dir, flags, Mode::empty()) else { return };
    // It kills those below, too, also processes that are just being made (admin-guide/cgroup-v2.rst, "cgroup.kill").
    let killed = write(&top, "cgroup.kill", "1");
    let end = Instant::now() + LONGEST;
    if remove_below(top, !killed, end).is_ok() {
        while Instant::now() < end {
            match std::fs::remove_dir(dir) {
                Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => sleep(PAUSE),
                _ => break,
            }
        }
    }
}

/// Removes every directory below `top`, the deepest first. With `kill` the processes of each are killed one by one: before Linux
/// 5.14 no file does it.
fn remove_below(top: OwnedFd, kill: bool, end: Instant) -> Result<(), Errno> {
    let mut here = top;
    let mut way: Vec<CString> = Vec::new();
    loop {
        // Also on the way down: who is outside may make directories here for as long as we look.
        if Instant::now() >= end {
            return Err(Errno::TIMEDOUT);
        }
        if kill {
            kill_all(&here);
        }
        if let Some(name) = first_below(&here)? {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, &name, flags, Mode::empty())?;
            way.push(name);
            continue;
        }
        let Some(name) = way.pop() else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, "..", flags, Mode::empty())?;
        let busy = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::unlinkat(&here, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::BUSY) if Instant::now() < busy.min(end) => sleep(PAUSE),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// One directory in `dir`: after its end the next one is the first.
fn first_below(dir: &OwnedFd) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let itself = matches!(name.to_bytes(), b"." | b"..");
        if entry.file_type() == FileType::Directory && !itself {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// By pidfds that are compared with a second reading: a number may be another process's by then.
fn kill_all(dir: &OwnedFd) {
    let list = || {
        let mut processes = String::new();
        if let Some(mut file) = open(dir, "cgroup.procs", OFlags::RDONLY) {
            file.read_to_string(&mut processes)?;
        }
        Ok(processes.lines().filter_map(|line| line.parse().ok()).collect())
    };
    let _ = signal::send_to_all(list, rustix::process::Signal::KILL, |e: std::io::Error| e);
}

fn write(dir: &OwnedFd, name: &str, text: &str) -> bool {
    open(dir, name, OFlags::WRONLY).is_some_and(|mut file| file.write_all(text.as_bytes()).is_ok())
}

fn open(dir: &OwnedFd, name: &str, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories of an ordinary file system come and go as cgroups do.
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
