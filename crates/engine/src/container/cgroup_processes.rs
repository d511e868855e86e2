//! The processes in a cgroup of version 2 and in the cgroups that the container made below it, which may be nested deeper than a
//! path can express.
//!
//! Nothing here uses a path below the container's own cgroup: each directory is opened from the descriptor of its
//! parent, one at a time. So sharedroot sets no bound for names or depth. Time has a bound, whatever the container has
//! made.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use sharedroot_sys::process::{CGROUPS, cgroup};

use super::signal;

/// How long a command may take in total for all cgroups and processes of a container: Docker's daemon waits 30 s for `delete`.
/// After a removal that takes longer the remaining cgroups stay, and the library, which finds the cgroup, reports it.
pub(crate) const LONGEST: Duration = Duration::from_secs(20);
/// The flags to open a directory with.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Sends `signal` to every process in a cgroup of version 2 and in the cgroups below it, once to each.
///
/// # Errors
/// Those of [`processes`], of [`members`] and of [`signal::send_to_all`].
pub(crate) fn signal_all(dir: &Path, signal: Signal, end: Instant) -> io::Result<()> {
    // As runc: one write, however many processes there are, and none that is being cloned is left out.
    if signal == Signal::KILL
        && write(&rustix::fs::open(dir, DIRECTORY, Mode::empty())?, "cgroup.kill", "1")
    {
        return Ok(());
    }
    let pids = processes(dir, end)?;
    let still = |some: &[i32]| members(dir, some, || processes(dir, end));
    signal::send_to_all(&pids, still, signal, end, |e| e)
}

/// Those of some processes that are in a cgroup of version 2 or below it. `again` lists the processes there by descriptor, for
/// processes whose cgroup has a path that the kernel cannot print.
///
/// # Errors
/// Those of `again`; read(2)'s, except that of a process that has ended.
pub(super) fn members(
    dir: &Path,
    pids: &[i32],
    again: impl FnOnce() -> Result<Vec<i32>, Errno>,
) -> io::Result<HashSet<i32>> {
    let (mut members, mut deep) = (HashSet::new(), HashSet::new());
    for pid in pids {
        match cgroup(*pid).map_err(|e| (Errno::from_io_error(&e), e)) {
            Ok(path) => {
                let path = path.map(|path| Path::new(CGROUPS).join(path));
                members.extend(path.filter(|path| path.starts_with(dir)).map(|_| *pid));
            }
            Err((Some(Errno::NAMETOOLONG), _)) => drop(deep.insert(*pid)),
            Err((Some(Errno::NOENT | Errno::SRCH), _)) => {}
            Err((_, error)) => return Err(error),
        }
    }
    if !deep.is_empty() {
        members.extend(again()?.into_iter().filter(|pid| deep.contains(pid)));
    }
    Ok(members)
}

/// The processes in a cgroup of version 2 and in the cgroups below it, as this process's PID namespace numbers them. A
/// cgroup that disappears meanwhile is no error.
///
/// # Errors
/// open(2)'s of the cgroup; [`Errno::TIMEDOUT`] if that takes until `end`: a container can make cgroups faster than they are
/// read.
pub(crate) fn processes(dir: &Path, end: Instant) -> Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    visit(dir, end, |pids| {
        found.extend(pids);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The first process that [`processes`] would find.
///
/// # Errors
/// Those of [`processes`].
pub(crate) fn first_process(dir: &Path, end: Instant) -> Result<Option<i32>, Errno> {
    let mut first = None;
    visit(dir, end, |pids| {
        first = pids.first().copied();
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(first)
}

/// Calls `next` with the processes of each cgroup, until that breaks.
fn visit(
    dir: &Path,
    end: Instant,
    mut next: impl FnMut(Vec<i32>) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let mut here = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    // The memory for the names is bounded by the kernel: a cgroup costs the kernel more memory than its name costs
    // here.
    let mut below = vec![names_below(&here)?];
    if next(pids_in(&here)?).is_break() {
        return Ok(());
    }
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
                below.push(names_below(&here)?);
                if next(pids_in(&here)?).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The processes in one open cgroup.
pub(super) fn pids_in(dir: &OwnedFd) -> Result<Vec<i32>, Errno> {
    listed(dir).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// The names of the cgroups directly below one.
fn names_below(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    match Dir::read_from(dir) {
        Err(Errno::NOENT) => Ok(Vec::new()),
        entries => {
            entries?.filter_map(|entry| entry.map(|entry| directory(&entry)).transpose()).collect()
        }
    }
}

/// The name of the entry, if the entry is a directory below and not `.` or `..`.
pub(super) fn directory(entry: &DirEntry) -> Option<CString> {
    let itself = matches!(entry.file_name().to_bytes(), b"." | b"..");
    (entry.file_type() == FileType::Directory && !itself).then(|| entry.file_name().to_owned())
}

/// The processes in one cgroup. The list is empty for a cgroup that is gone, and for a threaded one, which lists
/// threads only (cgroups(7), "threaded").
fn listed(dir: &OwnedFd) -> io::Result<Vec<i32>> {
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

/// Writes a file of a cgroup. Returns whether the kernel took the text.
pub(super) fn write(dir: &OwnedFd, name: &str, text: &str) -> bool {
    open(dir, name, OFlags::WRONLY).is_some_and(|mut file| file.write_all(text.as_bytes()).is_ok())
}

fn open(dir: &OwnedFd, name: &str, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()).ok().map(File::from)
}
