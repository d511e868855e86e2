//! clone3(2) puts a process of a container into its cgroup when it makes it (cgroup v2 without systemd).
//!
//! To move a process there by a write to `cgroup.procs` waits for an RCU grace period, 5 to 15 ms, most of a container's
//! creation (cgroup_attach_lock() in the kernel's kernel/cgroup/cgroup.c). clone3(2) with CLONE_INTO_CGROUP waits for
//! nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::Spec;

const TOP: &str = "/sys/fs/cgroup";
/// The controllers that the engine knows how to set.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];
/// A cgroup that a process can be cloned into.
#[derive(Debug)]
pub struct TargetCgroup {
    dir: PathBuf,
    open: File,
    /// Whether it was made here, and goes if nothing becomes of it.
    made: bool,
}

impl TargetCgroup {
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

    /// The cgroup's directory.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }

    /// Whether process `pid` is here. One that has ended by now is nowhere else.
    #[must_use]
    pub fn holds(&self, pid: i32) -> bool {
        let Ok(found) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return true };
        let path = found.lines().find_map(|line| line.strip_prefix("0::/"));
        path.is_some_and(|path| Path::new(TOP).join(path) == self.dir)
    }

    /// Whether the kernel killed somebody here because the limit of memory was reached.
    #[must_use]
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.is_some_and(|killed| killed != "0")
    }

    /// Takes away what [`Self::make`] made, with the processes in it.
    pub fn remove(&self) {
        if self.made {
            let _ = fs::write(self.dir.join("cgroup.kill"), "1");
            crate::container::cgroup::remove(&self.dir);
        }
    }
}

/// The cgroup of a new container; `None` if the engine is to make it by its own means, and to say why it cannot: cgroup
/// v1, or no right to make it.
#[must_use]
pub fn of_new(spec: &Spec) -> Option<TargetCgroup> {
    let path = spec.linux().as_ref()?.cgroups_path().as_ref()?;
    TargetCgroup::make(path, unified(path)?).ok()
}

/// The cgroup of a container that runs. `None` where there is no room in it, and for a paused container: a process that is
/// cloned into a frozen cgroup never runs, and could not say why.
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

/// Whether the processes of ours that are at work there could be too many or too large where the container's would not.
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

/// The child's end: what it inherited is its parent's to undo, so nothing is dropped.
#[expect(clippy::exit, reason = "a forked child must not return into its parent's work")]
pub(crate) fn leave(failed: bool) -> ! {
    std::process::exit(i32::from(failed))
}
