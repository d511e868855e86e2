//! The container's cgroup: where it is, and its processes.

use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, FreezerState, WrappedIoError,
    create_cgroup_manager,
};
use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use rustix::process::Signal;
use sharedroot_sys::process::{CGROUPS, has_unified_cgroups};

use super::members::Members;
use super::{cgroup_processes, signal, stats, unit};
use crate::{Embedded, EngineError};

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
            match cgroup_processes::processes(&dir, Instant::now() + cgroup_processes::LONGEST) {
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
    /// [`EngineError::Cgroup`], also if that takes longer than [`cgroup_processes::LONGEST`].
    pub(crate) fn signal_all(
        &self,
        container: &Container,
        signal: Signal,
    ) -> Result<(), EngineError> {
        let end = Instant::now() + cgroup_processes::LONGEST;
        if let Some(dir) = self.own_cgroup(container) {
            match cgroup_processes::signal_all(&dir, signal, end) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                sent => return sent.map_err(self.failed("kill")),
            }
        }
        let list = || self.listed_by_library("kill");
        let still = |_: &[i32]| list().map(HashSet::from_iter);
        signal::send_to_all(&list()?, still, signal, end, self.failed("kill"))
    }

    pub(super) fn failed(&self, verb: &'static str) -> impl Fn(io::Error) -> EngineError {
        let id = self.id().clone();
        move |source| {
            let source = match Errno::from_io_error(&source) {
                Some(Errno::TIMEDOUT) => {
                    let longest = cgroup_processes::LONGEST.as_secs();
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

/// The path of the cgroup that sharedroot's own configuration names.
pub(super) fn path_of(spec: &Spec) -> Option<&Path> {
    spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref())
}

/// Whether the error says that the file does not exist.
pub(super) fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<WrappedIoError>())
        .any(|error| error.inner().kind() == std::io::ErrorKind::NotFound)
}
