//! Whether the processes in a container's cgroup are the container's.
//!
//! The cgroup is known by its path. While the container's init process is in the cgroup, no other container gets that path
//! ([`refuse_others`](super::in_use::refuse_others)). After the end of the init process another container may get it, although
//! nobody has deleted the first one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcgroups::common::CgroupManager;
use libcontainer::container::Container;
use libcontainer::process::intel_rdt::cleanup_intel_rdt;
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{cgroup_end, signal, stats};
use crate::{Embedded, EngineError};

/// How long a process of sharedroot's own may take to leave the cgroup of a container that has ended: an `exec` that finds the
/// container's PID namespace gone.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// The PID namespace of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidNamespace {
    /// It is the container's own, so every process in it ends before the init process has ended (pid_namespaces(7)).
    Own,
    /// It belongs to the host or to another container.
    Shared,
}

impl PidNamespace {
    /// The namespace that a configuration asks for. An empty path counts as none.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let namespaces = spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
        let mut own = namespaces.filter(|namespace| {
            let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
            namespace.typ() == LinuxNamespaceType::Pid && path.is_none()
        });
        if own.next().is_some() { Self::Own } else { Self::Shared }
    }
}

/// Whose the processes in a container's cgroup are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    /// The container's, or nobody can tell.
    Own,
    /// None of them is the container's.
    Others,
}

/// The inode of a cgroup. The kernel gives no other cgroup the same one, also if it has the same path (Linux, fs/kernfs/dir.c).
pub(crate) fn inode(dir: &Path) -> Option<u64> {
    fs::metadata(dir).ok().map(|found| found.ino())
}

impl Embedded {
    /// Whose the processes in the container's cgroup `dir` are. `init` is the container's init process.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn members(
        &self,
        init: Option<&OwnedFd>,
        dir: Option<&Path>,
    ) -> io::Result<Members> {
        // A `create` that died has no record, or the record is of an earlier version.
        let Some(record) = self.recorded()? else { return Ok(Members::Own) };
        let Some(pids) = record.pids else { return Ok(Members::Own) };
        let was_replaced = || {
            record.cgroup.is_some_and(|known| dir.and_then(inode).is_none_or(|now| now != known))
        };
        let lives = match init {
            Some(init) => !signal::await_end(init, Duration::ZERO)?,
            None => false,
        };
        let others = match (lives, pids) {
            // Somebody has moved the init process. The end of the process is the end of the container.
            (true, PidNamespace::Own) => {
                let now = record.pid.and_then(stats::unified);
                now.zip(dir).is_some_and(|(now, dir)| !now.starts_with(dir))
            }
            (true, PidNamespace::Shared) => false,
            (false, PidNamespace::Own) => true,
            // As with runc, every process that is left there counts as the container's.
            (false, PidNamespace::Shared) => was_replaced(),
        };
        Ok(if others { Members::Others } else { Members::Own })
    }

    /// Removes what is left of a container that has no process any more: its cgroup, unless processes of others are in the
    /// cgroup, and the engine's directory. The library would kill the processes.
    pub(crate) fn delete_ended(
        &self,
        container: &mut Container,
        dir: Option<&Path>,
    ) -> Result<(), EngineError> {
        let taken = match dir {
            Some(dir) => is_taken(dir),
            None if container.systemd() => false,
            None => self.cgroup("delete")?.get_all_pids().is_ok_and(|pids| !pids.is_empty()),
        };
        if container.systemd() {
            if taken || self.has_lost_its_unit(container) {
                // So the library stops no unit.
                container.set_systemd(false);
            }
            return container.delete(true).map_err(self.fail("delete"));
        }
        if let Some(dir) = dir.filter(|_| !taken) {
            cgroup_end::remove_empty(dir);
        }
        if !taken && dir.is_none_or(|dir| dir.exists() && !is_populated(dir)) {
            // On cgroup v1 the library removes the cgroups; on v2 it reports why a cgroup cannot be removed.
            return container.delete(true).map_err(self.fail("delete"));
        }
        if taken {
            tracing::info!(
                "delete {}: its cgroup has processes of others by now, and stays",
                self.id()
            );
        }
        let resources = cleanup_intel_rdt(
            container.intel_rdt_dir().map(|path| path.as_path()),
            container.intel_rdt_monitoring_dir().map(|path| path.as_path()),
            container.clean_up_intel_rdt_subdirectory(),
            self.id().as_str(),
        );
        if let Err(error) = resources {
            tracing::warn!("delete {}: {error}", self.id());
        }
        match fs::remove_dir_all(self.dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::Engine {
                verb: "delete",
                id: self.id().clone(),
                why: format!("remove {}: {error}", self.dir().display()),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether others have processes in a cgroup of version 2 or below it.
pub(crate) fn is_taken(dir: &Path) -> bool {
    let end = Instant::now() + PATIENCE;
    while is_populated(dir) {
        if Instant::now() >= end {
            return true;
        }
        sleep(PAUSE);
    }
    false
}

/// Whether a cgroup of version 2, or one below it, has processes (admin-guide/cgroup-v2.rst, "cgroup.events").
fn is_populated(dir: &Path) -> bool {
    let events = fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_a_path_is_shared() {
        for (namespaces, own) in [
            (r#"{"type":"pid"}"#, true),
            (r#"{"type":"pid","path":""}"#, true),
            (r#"{"type":"pid","path":"/proc/1/ns/pid"}"#, false),
            (r#"{"type":"mount"}"#, false),
            ("", false),
        ] {
            let text =
                format!(r#"{{"ociVersion":"1.2.0","linux":{{"namespaces":[{namespaces}]}}}}"#);
            let spec = serde_json::from_str(&text).unwrap();
            assert_eq!(PidNamespace::of(&spec) == PidNamespace::Own, own, "{namespaces}");
        }
    }
}
