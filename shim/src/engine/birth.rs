//! The engine, run in a process that is born in the container's cgroup (cgroup v2 without systemd).
//!
//! The engine moves its process into the cgroup by a write to `cgroup.procs`, and that waits for an RCU grace period:
//! 5 to 15 ms, most of a container's creation (cgroup_attach_lock() in the kernel's kernel/cgroup/cgroup.c). clone3(2)
//! with CLONE_INTO_CGROUP waits for nothing. So the engine itself runs in such a child, and its write goes into an empty
//! file that lies over `cgroup.procs` in the child's own mount namespace. Where the init process really is gets checked.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Component, Path, PathBuf};

use libcontainer::container::{Container, ContainerStatus};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, close};
use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Spec};
use rustix::process::set_child_subreaper;

use super::hooks::are_dockers;
use crate::mount;

const TOP: &str = "/sys/fs/cgroup";
/// The controllers that the engine knows how to set.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];
/// `CLONE_INTO_CGROUP` of `linux/sched.h` (Linux 5.7).
const INTO_CGROUP: u64 = 1 << 33;
/// `CLONE_PARENT` of `linux/sched.h`: a child of the caller's parent.
pub(super) const AS_SIBLING: u64 = 0x8000;
/// The longest word of the child to its parent, in bytes.
const LONGEST: usize = 4096;

/// A cgroup that a process can be born in.
#[derive(Debug)]
pub struct Birthplace {
    dir: PathBuf,
    open: File,
    /// Whether it was made here, and goes if nothing becomes of it.
    made: bool,
}

/// What became of the work.
#[derive(Debug)]
pub enum Birth {
    /// The process that the engine started.
    Process(i32),
    /// The engine's reason.
    Refused(String),
    /// Nothing was begun: this host lets nothing be mounted over `cgroup.procs`.
    Exposed(String),
    /// The engine ended without a word: it ends its own cgroup when it cannot finish a container.
    Killed,
}

impl Birthplace {
    /// Makes the cgroup `path` as the engine makes it.
    fn make(path: &Path, dir: PathBuf) -> io::Result<Self> {
        let mut parent = PathBuf::from(TOP);
        let mut made = false;
        for name in path.components().filter(|part| matches!(part, Component::Normal(_))) {
            enable_controllers(&parent);
            parent.push(name);
            made = match fs::create_dir(&parent) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
                result => result.map(|()| true)?,
            };
        }
        Ok(Self { open: File::open(&dir)?, dir, made })
    }

    /// Runs `work` in a child that is born here and returns what it returned. What it started is an orphan then, as it
    /// is when a runtime ends; with `adopt` it is a child of this process.
    ///
    /// `decoy` is where the file that the engine writes to is made.
    ///
    /// # Errors
    /// Those of clone3(2), pipe(2) and the child's mounts.
    pub fn run(
        &self,
        decoy: &Path,
        adopt: bool,
        work: impl FnOnce() -> Result<i32, String>,
    ) -> io::Result<Birth> {
        File::create(decoy)?;
        let (mut told, mut tells) = io::pipe()?;
        let own = rustix::process::getpid();
        if adopt {
            set_child_subreaper(Some(own))?;
        }
        let Some(child) = fork(Some(self.descriptor()), 0)? else {
            drop(told);
            // The container's process inherits what is open, and a directory would lead it out (CVE-2024-21626).
            let closed = close(self.open.as_raw_fd()).map_err(|e| e.to_string());
            let said = match closed.and_then(|()| self.hide(decoy)).map(|()| work()) {
                Ok(Ok(pid)) => format!("+{pid}"),
                Ok(Err(why)) => format!("-{why}"),
                Err(why) => format!("!{why}"),
            };
            // No more than fits into the pipe: nobody reads yet.
            leave(tells.write_all(&said.as_bytes()[..said.len().min(LONGEST)]).is_err());
        };
        let ended = waitpid(child, None);
        if adopt {
            set_child_subreaper(None)?;
        }
        // Not to its end: the container's process holds the other end, too, until it executes the image's program.
        fcntl(told.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut said = vec![0; LONGEST];
        let length = told.read(&mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        Ok(match (ended?, said.split_at_checked(1)) {
            (WaitStatus::Exited(_, 0), Some(("+", pid))) => {
                Birth::Process(pid.parse().map_err(io::Error::other)?)
            }
            (_, Some(("-", why))) => Birth::Refused(why.to_owned()),
            (_, Some(("!", why))) => Birth::Exposed(why.to_owned()),
            _ => Birth::Killed,
        })
    }

    /// The cgroup's directory.
    pub(super) fn descriptor(&self) -> RawFd {
        self.open.as_raw_fd()
    }

    /// In the child: `decoy` over `cgroup.procs`, where only this child's processes see it.
    fn hide(&self, decoy: &Path) -> Result<(), String> {
        let place = || {
            mount::enter_private_namespace()?;
            mount::bind(decoy)?.attach(&self.dir.join("cgroup.procs"))
        };
        place().map(mount::Attached::keep).map_err(|e| e.to_string())
    }

    /// Whether process `pid` is here. One that has ended by now is nowhere else.
    #[must_use]
    pub fn holds(&self, pid: i32) -> bool {
        let Ok(found) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return true };
        let path = found.lines().find_map(|line| line.strip_prefix("0::/"));
        path.is_some_and(|path| Path::new(TOP).join(path) == self.dir)
    }

    /// Takes away what [`Self::make`] made, with the processes in it.
    pub fn remove(&self) {
        if self.made {
            let _ = fs::write(self.dir.join("cgroup.kill"), "1");
            super::cgroup::remove(&self.dir);
        }
    }
}

/// The cgroup of a new container; `None` if the engine is to make it by its own means, and to say why it cannot: cgroup
/// v1, systemd, no right to make it, limits in which the engine itself has no room, hooks that the container's limits must not meet, nor its end what they leave running, a container in the host's
/// mount namespace, or a user namespace, in which the engine may bind the cgroup into the container as it finds it.
#[must_use]
pub fn of_new(spec: &Spec) -> Option<Birthplace> {
    if spec.hooks().as_ref().is_some_and(|hooks| !are_dockers(hooks)) {
        return None;
    }
    let linux = spec.linux().as_ref()?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let has = |typ| namespaces.iter().any(|namespace| namespace.typ() == typ);
    if has(LinuxNamespaceType::User) || !has(LinuxNamespaceType::Mount) {
        return None;
    }
    if linux.resources().as_ref().is_some_and(leave_no_room) {
        return None;
    }
    let path = linux.cgroups_path().as_ref()?;
    Birthplace::make(path, unified(path)?).ok()
}

/// The cgroup of a container that runs; `None` where there is no room in it either, and for a paused one: who is born in a frozen cgroup is
/// frozen, and could not even refuse.
#[must_use]
pub fn of_running(container: &Container) -> Option<Birthplace> {
    if container.status() == ContainerStatus::Paused {
        return None;
    }
    let dir = unified(&container.spec().ok()?.cgroup_path)?;
    let number = |file| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<i64>().ok();
    let processes = number("pids.max").map(|most| most - number("pids.current").unwrap_or(0));
    if no_room(processes, number("memory.max")) {
        return None;
    }
    let open = File::open(&dir).ok()?;
    Some(Birthplace { dir, open, made: false })
}

/// Whether a new container's limits are too small for the engine.
fn leave_no_room(resources: &LinuxResources) -> bool {
    // 0 and less are no limits.
    let limit = |limit: Option<i64>| limit.filter(|limit| *limit > 0);
    let pids = resources.pids().as_ref().map(|pids| pids.limit());
    no_room(limit(pids), limit(resources.memory().as_ref().and_then(|memory| memory.limit())))
}

/// Whether the engine and Docker's hook, which count while they are at work, could be too many or too large where the
/// container alone would not.
fn no_room(processes: Option<i64>, memory: Option<i64>) -> bool {
    const PROCESSES: i64 = 100;
    const MEMORY: i64 = 128 << 20;
    processes.is_some_and(|left| left < PROCESSES) || memory.is_some_and(|limit| limit < MEMORY)
}

/// The directory of the absolute cgroup path `path`, which must not climb.
fn unified(path: &Path) -> Option<PathBuf> {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let named = path.strip_prefix("/").ok().filter(|rest| plain && !rest.as_os_str().is_empty())?;
    Path::new(TOP).join("cgroup.controllers").exists().then(|| Path::new(TOP).join(named))
}

/// Lets the children of `dir` have their controllers set. One that cannot be is missed when a limit needs it.
fn enable_controllers(dir: &Path) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (there, on) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    for name in CONTROLLERS.into_iter().filter(|name| has(&there, name) && !has(&on, name)) {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"));
    }
}

/// A copy of this process, in the cgroup that `cgroup` is open on if there is one. `flags` is [`AS_SIBLING`] or 0. `None`
/// in the child.
#[expect(unsafe_code, reason = "no crate makes this call without unsafe")]
pub(super) fn fork(cgroup: Option<RawFd>, flags: u64) -> io::Result<Option<Pid>> {
    let args = libc::clone_args {
        flags: flags | cgroup.map_or(0, |_| INTO_CGROUP),
        // A sibling has its parent's (clone(2), CLONE_PARENT).
        exit_signal: if flags == AS_SIBLING { 0 } else { libc::SIGCHLD as u64 },
        cgroup: cgroup.unwrap_or(0) as u64,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
    };
    // SAFETY: without CLONE_VM and without a stack this is fork(2) (clone(2), "The clone3() system call"), and this
    // process has one thread. The structure outlives the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?))),
    }
}

/// The child's end: what it inherited is its parent's to undo, so nothing is dropped.
#[expect(clippy::exit, reason = "a forked child must not return into its parent's work")]
pub(super) fn leave(failed: bool) -> ! {
    std::process::exit(i32::from(failed))
}
