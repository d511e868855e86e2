//! A process of ours before the engine's code leads it into a container: what `first` and `enter` have in common.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use libcgroups::common::CgroupConfig;
use libcontainer::notify_socket::NotifyListener;
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::syscall::syscall::{SyscallType, create_syscall};
use nix::sys::prctl::set_dumpable;
use oci_spec::runtime::{Process, Spec};

use super::workload::Workload;

/// Any step that failed; the caller names the container.
pub(super) type Why = Box<dyn std::error::Error>;

/// Nobody in the container may look into it, and it has the limits of `process`.
pub(super) fn settle(process: &Process) -> Result<(), Why> {
    set_dumpable(false)?;
    if let Some(adjustment) = process.oom_score_adj() {
        fs::write("/proc/self/oom_score_adj", adjustment.to_string())?;
    }
    for rlimit in process.rlimits().iter().flatten() {
        create_syscall()
            .set_rlimit(rlimit)
            .map_err(|e| format!("process.rlimits: set {}: {e}", rlimit.typ()))?;
    }
    Ok(())
}

/// What the engine is told of it, without what only one kind of process has.
pub(super) fn arguments(
    kind: ContainerType,
    spec: Rc<Spec>,
    start: NotifyListener,
    cgroup: CgroupConfig,
    workload: Workload,
) -> ContainerArgs {
    ContainerArgs {
        container_type: kind,
        syscall: SyscallType::default(),
        spec,
        rootfs: PathBuf::new(),
        console_socket: None,
        notify_listener: start,
        preserve_fds: 0,
        container: None,
        user_ns_config: None,
        cgroup_config: cgroup,
        detached: true,
        executor: Box::new(workload),
        no_pivot: false,
        stdin: None,
        stdout: None,
        stderr: None,
        as_sibling: false,
        pid_file: None,
    }
}
