//! clone3(2) makes a process of a container directly in the container's cgroup (cgroup v2 without systemd).
//!
//! A write to `cgroup.procs`, which moves a process, waits for an RCU grace period. That takes 5 to 15 ms, which is
//! most of a container's creation (cgroup_attach_lock() in the kernel's kernel/cgroup/cgroup.c). clone3(2) with
//! CLONE_INTO_CGROUP does not wait.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::Spec;
use sharedroot_sys::process::{CGROUPS, cgroup, has_unified_cgroups};

use crate::container::members::PidNamespace;

/// The controllers that the engine can set limits of.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/// A cgroup that a process can be cloned into.
#[derive(Debug)]
pub struct TargetCgroup {
    dir: PathBuf,
    open: File,
    /// Whether this process made the cgroup, and removes it if the container cannot be created.
    made: bool,
}

impl TargetCgroup {
    /// Makes the cgroup `path` as the engine makes it.
    fn make(path: &Path, dir: PathBuf) -> io::Result<Self> {
        let mut parent = PathBuf::from(CGROUPS);
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

    /// The cgroup's directory.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }

    /// Whether process `pid` is in this cgroup. A process that has ended counts as one in the cgroup.
    #[must_use]
    pub fn holds(&self, pid: i32) -> bool {
        let Ok(found) = cgroup(pid) else { return true };
        found.is_some_and(|path| Path::new(CGROUPS).join(path) == self.dir)
    }

    /// Whether the kernel killed a process here because the memory limit was reached.
    #[must_use]
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.is_some_and(|killed| killed != "0")
    }

    /// Removes the cgroup that [`Self::make`] made, after the end of the init process. In a PID namespace of its own no other
    /// process is left; another container may be in the cgroup by now.
    pub(crate) fn remove(&self, pids: PidNamespace) {
        if self.made {
            if pids == PidNamespace::Shared {
                let _ = fs::write(self.dir.join("cgroup.kill"), "1");
            }
            crate::container::cgroup_removal::remove(&self.dir);
        }
    }
}

/// The cgroup of a new container. `None` if the engine must make the cgroup itself, and report why it cannot: with
/// cgroup v1, or without the right to make a cgroup.
#[must_use]
pub fn of_new(spec: &Spec) -> Option<TargetCgroup> {
    let path = spec.linux().as_ref()?.cgroups_path().as_ref()?;
    TargetCgroup::make(path, unified(path)?).ok()
}

/// The cgroup of a running container. `None` if its limits leave too little room, and for a paused container: a process
/// that is cloned into a frozen cgroup never runs, and so could not report an error.
#[must_use]
pub fn of_running(container: &Container) -> Option<TargetCgroup> {
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
    Some(TargetCgroup { dir, open, made: false })
}

/// Whether sharedroot's own processes in the cgroup could exceed a limit that the container's processes would not
/// exceed.
fn no_room(processes: Option<i64>, memory: Option<i64>) -> bool {
    const PROCESSES: i64 = 100;
    const MEMORY: i64 = 128 << 20;
    processes.is_some_and(|left| left < PROCESSES) || memory.is_some_and(|limit| limit < MEMORY)
}

/// The directory of the absolute cgroup path `path`, which must not contain `..`.
fn unified(path: &Path) -> Option<PathBuf> {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let named = path.strip_prefix("/").ok().filter(|rest| plain && !rest.as_os_str().is_empty())?;
    has_unified_cgroups().then(|| Path::new(CGROUPS).join(named))
}

/// Enables the engine's controllers for the children of `dir`. If a controller cannot be enabled, the limit that needs
/// it will fail.
fn enable_controllers(dir: &Path) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (there, on) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    for name in CONTROLLERS.into_iter().filter(|name| has(&there, name) && !has(&on, name)) {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"));
    }
}

/// How a child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has done its work.
    Done,
    /// It could not.
    Failed,
}

impl<T, E> From<&Result<T, E>> for End {
    fn from(work: &Result<T, E>) -> Self {
        if work.is_ok() { Self::Done } else { Self::Failed }
    }
}

/// Ends the child without running destructors: the parent undoes what the child inherited.
#[expect(clippy::exit, reason = "a forked child must not return into its parent's work")]
pub(crate) fn leave(end: End) -> ! {
    std::process::exit(match end {
        End::Done => 0,
        End::Failed => 1,
    })
}
