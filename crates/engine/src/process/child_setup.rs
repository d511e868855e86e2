//! A process of ours before the engine's code leads it into a container: what `first` and `enter` have in common.

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

/// Any step that failed; the caller names the container.
pub(crate) type BoxError = Box<dyn std::error::Error>;

/// Nobody in the container may look into it, no signal waits because its caller wants it, and it has the limits of `process`.
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

/// Descriptors that a process needs on its way to the program.
const FILES: u64 = 64;

/// Takes a limit of open files that the way to the program would not keep out of `process`: it is the program's, and set
/// right before that is executed.
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

/// Why the engine did not lead the process to its program, in runc's words, which Docker and podman look for. `None` where
/// the engine's own are all that there is. An init process has `sysctls`.
pub(crate) fn reason(
    process: &Process,
    sysctls: Option<&HashMap<String, String>>,
    why: &InitProcessError,
) -> Option<String> {
    let first = sysctls.is_some();
    match why {
        // The engine says how it looked for the file, and not which one it was.
        InitProcessError::Pathrs(_) => unknown(sysctls?),
        InitProcessError::Workload(ExecutorError::Execution(words)) => Some(words.to_string()),
        // The engine says the number only. This process is where the engine left it, with the same rights.
        InitProcessError::NixOther(number) => match chdir(process.cwd()) {
            Err(again) if again as i32 == *number as i32 => {
                let cwd = process.cwd().display();
                // The init process makes its directory: it is missing because it could not.
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

/// The first sysctl that the kernel does not know, as seen in the container.
fn unknown(sysctls: &HashMap<String, String>) -> Option<String> {
    let path = |name: &String| format!("/proc/sys/{}", name.replace('.', "/"));
    let mut all: Vec<_> = sysctls.keys().map(path).collect();
    all.sort_unstable();
    let is_missing = |path: &String| {
        std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    };
    all.into_iter().find(is_missing).map(|path| format!("open {path}: {}", words(Errno::ENOENT)))
}

/// What the engine is told of it, without what only one kind of process has.
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
