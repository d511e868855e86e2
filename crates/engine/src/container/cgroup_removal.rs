//! The end of the container's cgroup, whichever version it has and whoever made it: the engine or systemd.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, FreezerState, create_cgroup_manager,
};
use libcontainer::container::Container;
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use rustix::process::Signal;
use sharedroot_sys::process::{CGROUPS, has_unified_cgroups};

use super::cgroup::{is_gone, path_of};
use super::cgroup_processes::{LONGEST, first_process};
use super::members::is_taken;
use super::{cgroup_end, signal};
use crate::{Embedded, EngineError};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

impl Embedded {
    /// Ends every process of the container. On cgroup v2 the container's cgroup is removed, too, and so are the cgroups
    /// that the container made below it: the library waits only a tenth of a second for the removal, which is too short
    /// on a busy host, and removes no cgroup below. If a cgroup cannot be removed, the library's own removal fails and
    /// reports that.
    pub(crate) fn remove_cgroup(&self, container: &Container) {
        let Ok(config) = container.spec() else { return };
        if container.systemd() {
            // systemd owns the unit's own directory; systemd would remove what is below the directory by path.
            match self.own_cgroup(container) {
                Some(dir) => cgroup_end::end_below(&dir),
                None => self.end_without_directory(),
            }
        } else if !has_unified_cgroups() {
            self.end_without_directory();
        } else if let Ok(path) = config.cgroup_path.strip_prefix("/")
            && path.file_name().is_some()
        {
            cgroup_end::end(&Path::new(CGROUPS).join(path));
        }
    }

    /// Kills the processes in the cgroup of v1 or of a unit, and waits for their end.
    fn end_without_directory(&self) {
        if let Ok(cgroup) = self.cgroup("delete") {
            end_processes(&cgroup);
        }
    }

    /// Ends every process in the cgroup that `spec`, sharedroot's own configuration, names: for a container whose state
    /// the engine cannot read.
    ///
    /// # Errors
    /// [`EngineError::Cgroup`] if a process is left, or if nobody can tell.
    pub(crate) fn end_cgroup_of(&self, spec: &Spec) -> Result<(), EngineError> {
        let fail = self.failed("delete");
        // The configuration always has the path. Without it the engine would have refused the container.
        let Some(path) = path_of(spec) else { return Ok(()) };
        if !has_unified_cgroups() {
            return self.end_cgroup_v1(path);
        }
        // systemd has made no unit of another path.
        let Some(dir) = self.cgroup_of(spec)? else { return Ok(()) };
        // systemd removes the cgroup of a unit itself.
        if path.is_absolute() {
            cgroup_end::end(&dir)
        } else {
            cgroup_end::end_below(&dir)
        }
        // `cgroup.kill` returns before the processes have ended.
        let end = Instant::now() + PATIENCE;
        loop {
            match first_process(&dir, Instant::now() + LONGEST) {
                Err(Errno::NOENT) | Ok(None) => return Ok(()),
                Ok(Some(pid)) if Instant::now() >= end => return Err(fail(does_not_end(pid))),
                Ok(Some(_)) => sleep(PAUSE),
                Err(errno) => return Err(fail(errno.into())),
            }
        }
    }

    /// Removes the cgroup that sharedroot's own configuration names, unless others have processes in it. systemd removes an empty
    /// unit by itself.
    ///
    /// # Errors
    /// [`EngineError::Cgroup`].
    pub(crate) fn remove_untaken_cgroup_of(&self, spec: &Spec) -> Result<(), EngineError> {
        if path_of(spec).is_some_and(Path::is_absolute)
            && let Some(dir) = self.cgroup_of(spec)?
            && !is_taken(&dir)
        {
            cgroup_end::remove_empty(&dir);
        }
        Ok(())
    }

    fn end_cgroup_v1(&self, path: &Path) -> Result<(), EngineError> {
        let fail = self.failed("delete");
        let cgroup = create_cgroup_manager(CgroupConfig {
            cgroup_path: path.to_owned(),
            systemd_cgroup: !path.is_absolute(),
            container_name: self.id().to_string(),
        })
        .map_err(|e| fail(io::Error::other(e)))?;
        end_processes(&cgroup);
        match cgroup.get_all_pids() {
            Err(e) if is_gone(&e) => Ok(()),
            Err(e) => Err(self.cgroup_error("delete")(e)),
            Ok(pids) => pids.first().map_or(Ok(()), |pid| Err(fail(does_not_end(pid.as_raw())))),
        }
    }
}

/// Kills the processes in a cgroup, and waits for their end. They are thawed first, because a frozen process of cgroup v1
/// does not end.
fn end_processes(cgroup: &AnyCgroupManager) {
    let _ = cgroup.freeze(FreezerState::Thawed);
    let end = Instant::now() + PATIENCE;
    while let Ok(pids) = cgroup.get_all_pids()
        && !pids.is_empty()
        && Instant::now() < end
    {
        let pids: Vec<_> = pids.into_iter().map(|pid| pid.as_raw()).collect();
        let still = |_: &[i32]| match cgroup.get_all_pids() {
            Ok(pids) => Ok(pids.into_iter().map(|pid| pid.as_raw()).collect()),
            Err(_) => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let _ = signal::send_to_all(&pids, still, Signal::KILL, end, |e| e);
        sleep(PAUSE);
    }
}

fn does_not_end(pid: i32) -> io::Error {
    io::Error::other(format!("its process {pid} does not end after SIGKILL"))
}

/// Removes one cgroup, whose processes are about to end.
pub(crate) fn remove(dir: &Path) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match std::fs::remove_dir(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => sleep(PAUSE),
            _ => break,
        }
    }
}
