//! The container's cgroup: where it is, its processes, its end.

use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, FreezerState, WrappedIoError,
    create_cgroup_manager,
};
use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use rustix::process::Signal;
use sharedroot_sys::process::{CGROUPS, has_unified_cgroups};

use super::members::{Members, is_taken};
use super::{cgroup_end, signal, stats, unit};
use crate::{Embedded, EngineError};

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
        let container = self.load("ps")?;
        let (dir, fail) = (self.own_cgroup(&container), self.failed("ps"));
        let init = self.hold(&container).map_err(&fail)?;
        if self.members(init.as_ref(), dir.as_deref()).map_err(&fail)? == Members::Others {
            let named = container.pid().filter(|_| init.is_some());
            return Ok(named.into_iter().map(|pid| pid.as_raw()).collect());
        }
        if let Some(dir) = dir {
            match cgroup_end::processes(&dir, Instant::now() + cgroup_end::LONGEST) {
                // It may have stopped, or its cgroup is not where systemd's usually are.
                Err(Errno::NOENT) => {}
                found => return found.map_err(|errno| fail(errno.into())),
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

    /// Thaws frozen processes, for `verb`.
    pub(crate) fn thaw(&self, verb: &'static str) -> Result<(), EngineError> {
        self.cgroup(verb)?.freeze(FreezerState::Thawed).map_err(self.cgroup_error(verb))
    }

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
            match cgroup_end::first_process(&dir, Instant::now() + cgroup_end::LONGEST) {
                Err(Errno::NOENT) | Ok(None) => return Ok(()),
                Ok(Some(pid)) if Instant::now() >= end => return Err(fail(does_not_end(pid))),
                Ok(Some(_)) => sleep(PAUSE),
                Err(errno) => return Err(fail(errno.into())),
            }
        }
    }

    /// The directory of the cgroup of version 2 that sharedroot's own configuration names.
    ///
    /// # Errors
    /// [`EngineError::Cgroup`].
    pub(crate) fn cgroup_of(&self, spec: &Spec) -> Result<Option<PathBuf>, EngineError> {
        let is_v2 = has_unified_cgroups();
        let Some(path) = path_of(spec).filter(|_| is_v2) else { return Ok(None) };
        match path.strip_prefix("/") {
            Ok(below) => Ok(Some(Path::new(CGROUPS).join(below))),
            Err(_) => unit::directory(path).map_err(self.failed("delete")),
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
            return has_unified_cgroups().then_some(dir);
        }
        let of_process = || unit::of_process(&path, container.pid()?.as_raw()).ok()?;
        self.recorded_cgroup().or_else(of_process)
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

/// Whether a cgroup of version 2 is to be frozen; `None` if the kernel does not say.
pub(crate) fn is_frozen(dir: &Path) -> Option<bool> {
    Some(std::fs::read(dir.join("cgroup.freeze")).ok()?.trim_ascii() == b"1")
}

fn path_of(spec: &Spec) -> Option<&Path> {
    spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref())
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

/// Whether the error says that the file does not exist.
pub(super) fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
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
