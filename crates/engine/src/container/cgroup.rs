//! The container's cgroup: where it is, its processes, its end.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, FreezerState, WrappedIoError,
    create_cgroup_manager,
};
use libcontainer::container::{Container, ContainerStatus};
use rustix::io::Errno;
use rustix::process::Signal;
use sharedroot_sys::process::CGROUPS;

use super::{cgroup_end, signal, stats};
use crate::{Embedded, EngineError};

/// The file beside the configuration with the path of the cgroup that systemd made for the container.
const CGROUP: &str = "init-cgroup";

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

impl Embedded {
    /// The library's object for the container's cgroup.
    pub(crate) fn cgroup(&self, verb: &'static str) -> Result<AnyCgroupManager, EngineError> {
        let container = self.load(verb)?;
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Cgroup {
            verb,
            id: self.id().clone(),
            source,
        };
        let cgroup_path = container.spec().map_err(|e| fail(e.into()))?.cgroup_path;
        create_cgroup_manager(CgroupConfig {
            cgroup_path,
            systemd_cgroup: container.systemd(),
            container_name: self.id().to_string(),
        })
        .map_err(|e| fail(e.into()))
    }

    /// The process IDs of the container, as this process's PID namespace numbers them. The list is empty once the
    /// container has stopped and its cgroup is gone: systemd removes an empty scope by itself, and containerd asks
    /// after each container's end.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn processes(&self) -> Result<Vec<i32>, EngineError> {
        if let Some(dir) = self.own_cgroup(&self.load("ps")?) {
            match cgroup_end::processes(&dir, Instant::now() + cgroup_end::LONGEST) {
                // It may have stopped, or its cgroup is not where systemd's usually are.
                Err(Errno::NOENT) => {}
                found => return found.map_err(|errno| self.failed("ps")(errno.into())),
            }
        }
        self.listed_by_library("ps")
    }

    fn listed_by_library(&self, verb: &'static str) -> Result<Vec<i32>, EngineError> {
        match self.cgroup(verb)?.get_all_pids() {
            Ok(pids) => Ok(pids.into_iter().map(|pid| pid.as_raw()).collect()),
            Err(e) if is_gone(&e) && self.load(verb)?.status() == ContainerStatus::Stopped => {
                Ok(Vec::new())
            }
            Err(e) => Err(self.cgroup_error(verb)(e)),
        }
    }

    /// Sends `signal` to every process of the container, once to each.
    ///
    /// # Errors
    /// [`EngineError::Cgroup`], also if that takes longer than [`cgroup_end::LONGEST`].
    pub(crate) fn signal_all(
        &self,
        container: &Container,
        signal: Signal,
    ) -> Result<(), EngineError> {
        let end = Instant::now() + cgroup_end::LONGEST;
        if let Some(dir) = self.own_cgroup(container) {
            match cgroup_end::signal_all(&dir, signal, end) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                sent => return sent.map_err(self.failed("kill")),
            }
        }
        let list = || self.listed_by_library("kill");
        let still = |_: &[i32]| list().map(HashSet::from_iter);
        signal::send_to_all(&list()?, still, signal, end, self.failed("kill"))
    }

    fn failed(&self, verb: &'static str) -> impl Fn(io::Error) -> EngineError {
        let id = self.id().clone();
        move |source| {
            let source = match Errno::from_io_error(&source) {
                Some(Errno::TIMEDOUT) => {
                    let longest = cgroup_end::LONGEST.as_secs();
                    format!("its cgroups are too many to be read within {longest} s").into()
                }
                _ => source.into(),
            };
            EngineError::Cgroup { verb, id: id.clone(), source }
        }
    }

    /// Thaws frozen processes.
    pub(crate) fn thaw(&self) -> Result<(), EngineError> {
        self.cgroup("kill")?.freeze(FreezerState::Thawed).map_err(self.cgroup_error("kill"))
    }

    /// Ends every process of the container. On cgroup v2 the container's cgroup is removed, too, and so are the cgroups
    /// that the container made below it: the library waits only a tenth of a second for the removal, which is too short
    /// on a busy host, and removes no cgroup below. If a cgroup cannot be removed, the library's own removal fails and
    /// reports that.
    pub(crate) fn remove_cgroup(&self, container: &Container) {
        let top = Path::new(CGROUPS);
        let Ok(config) = container.spec() else { return };
        if container.systemd() {
            // systemd owns the unit's own directory; systemd would remove what is below the directory by path.
            match self.own_cgroup(container) {
                Some(dir) => cgroup_end::end_below(&dir),
                None => self.end_processes(),
            }
        } else if !top.join("cgroup.controllers").exists() {
            self.end_processes();
        } else if let Ok(path) = config.cgroup_path.strip_prefix("/")
            && path.file_name().is_some()
        {
            cgroup_end::end(&top.join(path));
        }
    }

    /// Kills the processes in the cgroup of v1 or of a unit, and waits for their end. They are thawed first, because a
    /// frozen process of cgroup v1 does not end.
    fn end_processes(&self) {
        let Ok(cgroup) = self.cgroup("delete") else { return };
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

    /// The cgroup below the container's own that an `exec` must join: the requested one, or that of the init process if
    /// the container divided its cgroup among children. cgroup v2 lets no process into a cgroup that gives controllers
    /// to its children (cgroups(7), "no internal processes"). The path is absolute in the hierarchy, also if systemd
    /// made the container's cgroup.
    ///
    /// # Errors
    /// [`EngineError::Process`] if the requested cgroup does not exist.
    pub(crate) fn sub_cgroup(
        &self,
        container: &Container,
        asked: Option<&str>,
    ) -> Result<Option<PathBuf>, EngineError> {
        let own = self.own_cgroup(container);
        let in_hierarchy =
            |dir: &Path| dir.strip_prefix(CGROUPS).ok().map(|dir| Path::new("/").join(dir));
        if let Some(asked) = asked {
            let plain = Path::new(asked).components().all(|c| matches!(c, Component::Normal(_)));
            let dir = own.map(|own| own.join(asked)).filter(|dir| plain && dir.is_dir());
            return dir.as_deref().and_then(in_hierarchy).map(Some).ok_or_else(|| {
                let what = format!("--cgroup {asked}: there is no such cgroup in the container's");
                EngineError::Process { id: self.id().clone(), what }
            });
        }
        let of_init = || {
            let own = own?;
            let divided = std::fs::read(own.join("cgroup.subtree_control")).ok()?;
            let divided = !divided.trim_ascii().is_empty();
            let of_init = stats::unified(container.pid().filter(|_| divided)?.as_raw())?;
            (of_init != own && of_init.starts_with(&own)).then(|| in_hierarchy(&of_init))?
        };
        Ok(of_init())
    }

    /// The directory of the container's own cgroup of version 2. For systemd's cgroup that is the recorded path, or the
    /// path found by the unit's name: the container can move its init process deeper than the path in /proc/PID/cgroup
    /// at `create`.
    pub(crate) fn own_cgroup(&self, container: &Container) -> Option<PathBuf> {
        let path = container.spec().ok()?.cgroup_path;
        if !container.systemd() {
            let dir = Path::new(CGROUPS).join(path.strip_prefix("/").unwrap_or(&path));
            return Path::new(CGROUPS).join("cgroup.controllers").exists().then_some(dir);
        }
        if let Ok(recorded) = std::fs::read(self.bundle().join(CGROUP)) {
            return Some(OsString::from_vec(recorded).into());
        }
        cgroup_of_unit(&unit(path.to_str()?)?, container.pid()?.as_raw())
    }

    /// Records the path of the unit's cgroup, before the container's program runs.
    pub(crate) fn record_cgroup(&self, container: &Container) -> std::io::Result<()> {
        match self.own_cgroup(container) {
            Some(dir) => std::fs::write(self.bundle().join(CGROUP), dir.as_os_str().as_bytes()),
            // On cgroup v1 there is no path to record.
            None => Ok(()),
        }
    }

    /// The error of a cgroup that did not do what `verb` asked for.
    pub(crate) fn cgroup_error(
        &self,
        verb: &'static str,
    ) -> impl FnOnce(libcgroups::common::AnyManagerError) -> EngineError {
        let id = self.id().clone();
        move |source| EngineError::Cgroup { verb, id, source: source.into() }
    }
}

/// The uppermost cgroup of the unit's name above process `pid`. A cgroup of that name that the container makes lies
/// below it.
fn cgroup_of_unit(unit: &str, pid: i32) -> Option<PathBuf> {
    let of_init = stats::unified(pid)?;
    let named =
        of_init.ancestors().filter(|dir| dir.file_name().is_some_and(|name| *name == *unit));
    named.last().map(Path::to_owned)
}

/// The name of the unit for the path SLICE:PREFIX:NAME, formed as runc and crun form it.
fn unit(path: &str) -> Option<String> {
    let (rest, name) = path.rsplit_once(':')?;
    let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
    Some(if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") })
}

/// Whether the error says that the file does not exist.
fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<WrappedIoError>())
        .any(|error| error.inner().kind() == std::io::ErrorKind::NotFound)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_as_engines_name_it() {
        for (path, wanted) in [
            ("system.slice:docker:0ab", "docker-0ab.scope"),
            (":sharedroot:c", "sharedroot-c.scope"),
            ("machine.slice:libpod:x.slice", "x.slice"),
        ] {
            assert_eq!(unit(path).as_deref(), Some(wanted), "{path}");
        }
        assert_eq!(unit("/a/b"), None);
    }
}
