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

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::signal;

/// How long the whole may take: Docker's daemon waits 30 s for `delete`. Then what is left stays, and the library, which finds
/// the cgroup, reports it.
const LONGEST: Duration = Duration::from_secs(20);
/// How long killed processes may take to leave one cgroup.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
/// How directories are opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Kills what is in a cgroup and in those below it, and removes them, depth first.
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

/// The same, but for the cgroup itself, which waits for whoever made it.
pub(crate) fn end_below(dir: &Path) {
    let _ = end_all_below(dir, Instant::now() + LONGEST);
}

fn end_all_below(dir: &Path, end: Instant) -> Result<(), Errno> {
    let top = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    // It kills those below, too, also processes that are just being made (admin-guide/cgroup-v2.rst, "cgroup.kill").
    let killed = write(&top, "cgroup.kill", "1");
    remove_below(top, !killed, end)
}

/// The processes in a cgroup of version 2 and in those below it, as this process's namespace counts them. What goes meanwhile is
/// no error.
///
/// # Errors
/// open(2)'s of the cgroup; [`Errno::TIMEDOUT`] if whoever may divide it does so faster than it is read.
pub(crate) fn processes(dir: &Path) -> Result<Vec<i32>, Errno> {
    let end = Instant::now() + LONGEST;
    let mut here = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    let mut found = Vec::new();
    // A cgroup costs the kernel more memory than its name costs here.
    let mut below = vec![look_into(&here, &mut found)?];
    while let Some(names) = below.last_mut() {
        if Instant::now() >= end {
            return Err(Errno::TIMEDOUT);
        }
        let Some(name) = names.pop() else {
            below.pop();
            if !below.is_empty() {
                here = rustix::fs::openat(&here, "..", DIRECTORY, Mode::empty())?;
            }
            continue;
        };
        match rustix::fs::openat(&here, &name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {}
            opened => {
                here = opened?;
                below.push(look_into(&here, &mut found)?);
            }
        }
    }
    Ok(found)
}

/// Adds the processes of one cgroup; returns the names below it.
fn look_into(dir: &OwnedFd, found: &mut Vec<i32>) -> Result<Vec<CString>, Errno> {
    found.extend(listed(dir).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?);
    match Dir::read_from(dir) {
        Err(Errno::NOENT) => Ok(Vec::new()),
        entries => {
            entries?.filter_map(|entry| entry.map(|entry| directory(&entry)).transpose()).collect()
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
            here = rustix::fs::openat(&here, &name, DIRECTORY, Mode::empty())?;
            way.push(name);
            continue;
        }
        let Some(name) = way.pop() else { return Ok(()) };
        here = rustix::fs::openat(&here, "..", DIRECTORY, Mode::empty())?;
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
        if let Some(name) = directory(&entry?) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The name of a directory that lies below.
fn directory(entry: &DirEntry) -> Option<CString> {
    let itself = matches!(entry.file_name().to_bytes(), b"." | b"..");
    (entry.file_type() == FileType::Directory && !itself).then(|| entry.file_name().to_owned())
}

/// By pidfds that are compared with a second reading: a number may be another process's by then.
fn kill_all(dir: &OwnedFd) {
    let _ = signal::send_to_all(|| listed(dir), rustix::process::Signal::KILL, |e| e);
}

/// The processes in one cgroup. One that is gone has none, and none has them itself where they are threads' (cgroups(7),
/// "threaded").
fn listed(dir: &OwnedFd) -> std::io::Result<Vec<i32>> {
    let mut processes = String::new();
    if let Some(mut file) = open(dir, "cgroup.procs", OFlags::RDONLY) {
        match file.read_to_string(&mut processes) {
            Err(e)
                if [Errno::NODEV, Errno::OPNOTSUPP]
                    .map(Some)
                    .contains(&Errno::from_io_error(&e)) => {}
            read => drop(read?),
        }
    }
    Ok(processes.lines().filter_map(|line| line.parse().ok()).collect())
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
