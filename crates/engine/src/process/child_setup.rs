//! The first steps of a process before the engine's code leads it into a container, common to `init_process` and
//! `enter`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use libcgroups::common::CgroupConfig;
use libcontainer::notify_socket::NotifyListener;
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::init::error::InitProcessError;
use libcontainer::syscall::syscall::{SyscallType, create_syscall};
use libcontainer::workload::ExecutorError;
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::unistd::chdir;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Spec};

use super::child::let_go;
use super::executor::Workload;
use crate::reason::words;

/// The error of any step. The caller adds the container's ID.
pub(crate) type BoxError = Box<dyn std::error::Error>;

/// Makes this process unreadable for processes in the container, restores the signal mask, and sets the limits of
/// `process`.
pub(crate) fn harden_child(process: &Process) -> Result<(), BoxError> {
    set_dumpable(false)?;
    let_go()?;
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

/// How many descriptors a process needs until it executes the program.
const FILES: u64 = 64;

/// Takes a limit of open files out of `process` if it is too low for the steps before the program. It is the program's
/// limit, and is set right before the program is executed.
pub(crate) fn late_limit(process: &mut Process) -> Option<PosixRlimit> {
    let mut late = None;
    let mut rlimits = process.rlimits().clone();
    for rlimit in rlimits.iter_mut().flatten() {
        if rlimit.typ() == PosixRlimitType::RlimitNofile && rlimit.soft() < FILES {
            late = Some(*rlimit);
            let larger = PosixRlimitBuilder::default().typ(rlimit.typ()).soft(FILES);
            let larger = larger.hard(rlimit.hard().max(FILES)).build();
            *rlimit = larger.expect("each field has a default");
        }
    }
    process.set_rlimits(rlimits);
    late
}

/// Why the engine did not get the process to its program, in runc's words, which Docker and podman search for. `None`
/// if only the engine's own words are known. An init process has `sysctls`.
pub(crate) fn reason(
    process: &Process,
    sysctls: Option<&HashMap<String, String>>,
    why: &InitProcessError,
) -> Option<String> {
    let first = sysctls.is_some();
    match why {
        // The engine's error says how it opened the file, and not which file it was.
        InitProcessError::Pathrs(_) => unknown(sysctls?),
        InitProcessError::Workload(ExecutorError::Execution(words)) => Some(words.to_string()),
        // The engine's error has only the number. This process has the working directory and the rights that the engine
        // gave it, so the step can be repeated.
        InitProcessError::NixOther(number) => match chdir(process.cwd()) {
            Err(again) if again as i32 == *number as i32 => {
                let cwd = process.cwd().display();
                // An init process makes its working directory. If it is missing, the process could not make it.
                if first
                    && again == Errno::ENOENT
                    && let Err(error) = std::fs::create_dir_all(process.cwd())
                {
                    let why = error.raw_os_error().map_or(again, Errno::from_raw);
                    return Some(format!("mkdir {cwd}: {}", words(why)));
                }
                Some(format!(
                    "chdir to cwd (\"{cwd}\") set in config.json failed: {}",
                    words(again)
                ))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The first sysctl whose file in /proc does not exist in the container, so the kernel does not know it.
fn unknown(sysctls: &HashMap<String, String>) -> Option<String> {
    let path = |name: &String| format!("/proc/sys/{}", name.replace('.', "/"));
    let mut all: Vec<_> = sysctls.keys().map(path).collect();
    all.sort_unstable();
    let is_missing = |path: &String| {
        std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    };
    all.into_iter().find(is_missing).map(|path| format!("open {path}: {}", words(Errno::ENOENT)))
}

/// The engine's arguments for a process, without those for one kind of process only.
pub(crate) fn arguments(
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
