//! The container's cgroup: its processes, its figures, its limits.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, ControllerOpt, FreezerState, WrappedIoError,
    create_cgroup_manager, get_all_pids,
};
use libcgroups::v2::manager::Manager;
use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::{
    LinuxDeviceCgroup, LinuxNamespaceType, LinuxResources, Mount, Process, Spec,
};
use serde_json::{Value, json};
use sharedroot_format::json;

use super::{cgroup_end, signal, stats};
use crate::process::session;
use crate::spec::bundle::read_config;
use crate::spec::error::SpecError;
use crate::spec::resources;
use crate::spec::validate::forbidden;
use crate::{Embedded, EngineError};

/// Where the hierarchies are.
const TOP: &str = "/sys/fs/cgroup";

/// The file beside the configuration that names the cgroup that systemd made for the container.
const CGROUP: &str = "init-cgroup";

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

impl Embedded {
    fn cgroup(&self, verb: &'static str) -> Result<AnyCgroupManager, EngineError> {
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

    /// The process IDs of a container, as this process's namespace counts them. None once it has stopped and its cgroup is
    /// gone: systemd removes an empty scope on its own, and containerd asks whenever a container has ended.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn processes(&self) -> Result<Vec<i32>, EngineError> {
        if let Some(dir) = self.own_cgroup(&self.load("ps")?)
            && let Ok(pids) = cgroup_end::processes(&dir)
        {
            return Ok(pids);
        }
        match self.cgroup("ps")?.get_all_pids() {
            Ok(pids) => Ok(pids.into_iter().map(|pid| pid.as_raw()).collect()),
            Err(e) if is_gone(&e) && self.load("ps")?.status() == ContainerStatus::Stopped => {
                Ok(Vec::new())
            }
            Err(e) => Err(self.cgroup_error("ps")(e)),
        }
    }

    /// Lets frozen processes go on.
    pub(crate) fn thaw(&self) -> Result<(), EngineError> {
        self.cgroup("kill")?.freeze(FreezerState::Thawed).map_err(self.cgroup_error("kill"))
    }

    /// Applies the limits and the device rules of `resources` to the cgroup v2 of the container, where systemd made it.
    /// systemd rounds some and knows no others; runc writes them after it, too. The library does not.
    fn limit_scope(
        &self,
        verb: &'static str,
        container: &Container,
        resources: &LinuxResources,
    ) -> Result<(), EngineError> {
        let Some(dir) = self.own_cgroup(container) else { return Ok(()) };
        let path = dir.strip_prefix(TOP).unwrap_or(&dir).to_owned();
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Cgroup {
            verb,
            id: self.id().clone(),
            source,
        };
        let scope = Manager::new(TOP.into(), path).map_err(|e| fail(e.into()))?;
        scope.apply(&options(resources)).map_err(|e| fail(e.into()))
    }

    /// The same for a container that is being created.
    pub(crate) fn limit_new_scope(
        &self,
        container: &Container,
        spec: &Spec,
    ) -> Result<(), EngineError> {
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        resources.map_or(Ok(()), |resources| self.limit_scope("create", container, resources))
    }

    /// Gives the cgroup of process `pid` to the user of `process`, where the container has a cgroup namespace of its own
    /// and may write to it (runtime-spec, config-linux.md, "Cgroup ownership"): that user may divide it, and not raise
    /// its limits.
    pub(crate) fn hand_over_cgroup(
        &self,
        pid: i32,
        spec: &Spec,
        process: &Process,
    ) -> Result<(), EngineError> {
        let owner = session::host_uid(spec, process.user().uid()).filter(|uid| *uid != 0);
        let (Some(uid), Some(dir)) = (owner.filter(|_| has_own_cgroups(spec)), stats::unified(pid))
        else {
            return Ok(());
        };
        let delegated = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files = delegated.unwrap_or_else(|_| DELEGATED.to_owned());
        let paths = files.lines().map(|file| dir.join(file)).filter(|file| file.exists());
        paths.chain([dir.clone()]).try_for_each(|path| {
            std::os::unix::fs::lchown(&path, Some(uid), None).map_err(|e| {
                let source = format!("give {} to user {uid}: {e}", path.display()).into();
                EngineError::Cgroup { verb: "create", id: self.id().clone(), source }
            })
        })
    }

    /// `linux.resources.devices` of the container's configuration.
    fn device_rules(
        &self,
        verb: &'static str,
    ) -> Result<Option<Vec<LinuxDeviceCgroup>>, EngineError> {
        let spec = read_config(&self.bundle().join("config.json")).map_err(|e| {
            EngineError::Cgroup { verb, id: self.id().clone(), source: Box::new(e) }
        })?;
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        Ok(resources.and_then(|resources| resources.devices().clone()))
    }

    /// Ends every process of the container. On cgroup v2 its cgroup goes, too, with those that the container made below:
    /// the library waits a tenth of a second for it, which a busy host does not keep, and removes none below. What
    /// cannot be removed makes the library's removal fail, which is reported.
    pub(crate) fn remove_cgroup(&self, container: &Container) {
        let top = Path::new(TOP);
        let Ok(config) = container.spec() else { return };
        if container.systemd() {
            // The unit's own directory is systemd's, which would remove what is below by path.
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

    /// Kills what is in the cgroup of v1 or of a unit, and waits for it. A frozen process would not even die.
    fn end_processes(&self) {
        let Ok(cgroup) = self.cgroup("delete") else { return };
        let _ = cgroup.freeze(FreezerState::Thawed);
        let end = Instant::now() + PATIENCE;
        while let Ok(pids) = cgroup.get_all_pids()
            && !pids.is_empty()
            && Instant::now() < end
        {
            drop(pids);
            let list = || cgroup.get_all_pids().map(|all| all.iter().map(|p| p.as_raw()).collect());
            let list = || list().map_err(|_| std::io::ErrorKind::NotFound.into());
            let _ = signal::send_to_all(list, rustix::process::Signal::KILL, |e| e);
            sleep(PAUSE);
        }
    }

    /// The cgroup below the container's own that an `exec` must join: the one that was asked for, or
    /// that of the init process where the container divided its cgroup among children. cgroup v2
    /// lets no process into a cgroup that hands controllers down (cgroups(7), "no internal
    /// processes"). The path is absolute in the hierarchy, also where systemd made the container's own.
    ///
    /// # Errors
    /// [`EngineError::Process`] if the one that was asked for does not exist.
    pub(crate) fn sub_cgroup(
        &self,
        container: &Container,
        asked: Option<&str>,
    ) -> Result<Option<PathBuf>, EngineError> {
        let own = self.own_cgroup(container);
        let in_hierarchy =
            |dir: &Path| dir.strip_prefix(TOP).ok().map(|dir| Path::new("/").join(dir));
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

    /// The directory of the container's own cgroup of version 2. systemd's is the recorded one, or found by the name of the
    /// unit: the container can move its init process deeper than /proc/PID/cgroup says.
    pub(crate) fn own_cgroup(&self, container: &Container) -> Option<PathBuf> {
        let path = container.spec().ok()?.cgroup_path;
        if !container.systemd() {
            let dir = Path::new(TOP).join(path.strip_prefix("/").unwrap_or(&path));
            return Path::new(TOP).join("cgroup.controllers").exists().then_some(dir);
        }
        if let Ok(recorded) = std::fs::read(self.bundle().join(CGROUP)) {
            return Some(OsString::from_vec(recorded).into());
        }
        cgroup_of_unit(&unit(path.to_str()?)?, container.pid()?.as_raw())
    }

    /// Takes note of the unit's cgroup, while the container's program does not run yet.
    pub(crate) fn record_cgroup(&self, container: &Container) -> std::io::Result<()> {
        match self.own_cgroup(container) {
            Some(dir) => std::fs::write(self.bundle().join(CGROUP), dir.as_os_str().as_bytes()),
            // cgroup v1.
            None => Ok(()),
        }
    }

    fn cgroup_error(
        &self,
        verb: &'static str,
    ) -> impl FnOnce(libcgroups::common::AnyManagerError) -> EngineError {
        let id = self.id().clone();
        move |source| EngineError::Cgroup { verb, id, source: source.into() }
    }
}

/// The uppermost cgroup of that unit's name over process `pid`: what the container makes lies below it.
fn cgroup_of_unit(unit: &str, pid: i32) -> Option<PathBuf> {
    let of_init = stats::unified(pid)?;
    let named =
        of_init.ancestors().filter(|dir| dir.file_name().is_some_and(|name| *name == *unit));
    named.last().map(Path::to_owned)
}

/// The unit of SLICE:PREFIX:NAME, as every engine names it.
fn unit(path: &str) -> Option<String> {
    let (rest, name) = path.rsplit_once(':')?;
    let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
    Some(if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") })
}

/// Whether what was to be read is not there.
fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<WrappedIoError>())
        .any(|error| error.inner().kind() == std::io::ErrorKind::NotFound)
}

/// Refuses a cgroup in which other processes are, or which is frozen, as runc does since 1.2. An empty one is taken: a
/// daemon or a `create` that died may have made it.
///
/// # Errors
/// [`SpecError::CgroupInUse`], [`SpecError::CgroupFrozen`].
pub fn refuse_others(spec: &Spec, id: &str) -> Result<(), SpecError> {
    let Some(path) = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()) else {
        return Ok(());
    };
    let dir = match path.strip_prefix("/") {
        Ok(path) if Path::new(TOP).join("cgroup.controllers").exists() => Path::new(TOP).join(path),
        // The hierarchy in which the library looks for a container's processes.
        Ok(path) => Path::new(TOP).join("devices").join(path),
        Err(_) => return refuse_unit(path, id),
    };
    if !dir.exists() {
        return Ok(());
    }
    if std::fs::read(dir.join("cgroup.freeze")).is_ok_and(|on| on.trim_ascii() == b"1") {
        return Err(SpecError::CgroupFrozen { path });
    }
    // What cannot be read the engine cannot use either, and says so.
    let v1 = || get_all_pids(&dir).map(|all| all.iter().map(|pid| pid.as_raw()).collect());
    let all = cgroup_end::processes(&dir).or_else(|_| v1());
    match all.unwrap_or_default().first().copied() {
        Some(process) => Err(SpecError::CgroupInUse { path, process }),
        None => Ok(()),
    }
}

/// The same for one of systemd's units.
fn refuse_unit(path: PathBuf, id: &str) -> Result<(), SpecError> {
    let config = CgroupConfig {
        cgroup_path: path.clone(),
        systemd_cgroup: true,
        container_name: id.to_owned(),
    };
    let Ok(unit) = create_cgroup_manager(config) else { return Ok(()) };
    match unit.get_all_pids().unwrap_or_default().first() {
        Some(process) => Err(SpecError::CgroupInUse { path, process: process.as_raw() }),
        None => Ok(()),
    }
}

/// What a kernel without the list lets others have (Documentation/admin-guide/cgroup-v2.rst, "Model of Delegation").
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Whether the container has a new cgroup namespace, and a mount of it that can be written.
fn has_own_cgroups(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let own = namespaces.unwrap_or_default().iter().any(|namespace| {
        namespace.typ() == LinuxNamespaceType::Cgroup && namespace.path().is_none()
    });
    let writable = |mount: &Mount| {
        let cgroups = mount.typ().as_deref().is_some_and(|t| matches!(t, "cgroup" | "cgroup2"));
        cgroups && !mount.options().iter().flatten().any(|option| option == "ro")
    };
    own && spec.mounts().iter().flatten().any(writable)
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

/// One event of `events` in runc's form.
///
/// # Errors
/// [`EngineError`].
pub fn event(engine: &Embedded) -> Result<Value, EngineError> {
    let pid = engine.load("events")?.pid().map(|pid| pid.as_raw());
    // The number is compared after the cgroup was read: it may be another process's by now.
    let dir = pid.and_then(|pid| stats::unified(pid).filter(|_| engine.is_init(pid)));
    let data = match dir {
        Some(dir) => stats::of_unified(&dir),
        None => {
            let cgroup = engine.cgroup("events")?;
            stats::of_v1(&cgroup.stats().map_err(engine.cgroup_error("events"))?)
        }
    };
    Ok(json!({ "type": "stats", "id": engine.id().as_str(), "data": data }))
}

/// New limits of a container.
#[derive(Debug)]
pub struct Limits(LinuxResources);

impl Limits {
    /// From the JSON of `update --resources`.
    ///
    /// # Errors
    /// [`EngineError::Resources`], [`EngineError::Forbidden`].
    pub fn parse(path: PathBuf, text: &[u8]) -> Result<Self, EngineError> {
        let resources: LinuxResources =
            json::parse(text).map_err(|source| EngineError::Resources { path, source })?;
        forbidden::look_for_nul(text, "", &resources)?;
        Self::of(resources)
    }

    /// Limits in OCI's form.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`].
    pub fn of(resources: LinuxResources) -> Result<Self, EngineError> {
        forbidden::look_at_resources(&resources)?;
        Ok(Self(resources))
    }
}

/// Applies new limits to a running container. All others stay.
///
/// # Errors
/// [`EngineError`].
pub fn update(engine: &Embedded, limits: Limits) -> Result<(), EngineError> {
    let mut resources = limits.0;
    resources::complete(&mut resources).map_err(|error| match error {
        SpecError::Memory { why } => {
            EngineError::Cgroup { verb: "update", id: engine.id().clone(), source: why.into() }
        }
        error => error.into(),
    })?;
    // The library replaces the device program on each change; without rules it would allow none.
    if resources.devices().as_ref().is_none_or(Vec::is_empty) {
        resources.set_devices(engine.device_rules("update")?);
    }
    let container = engine.load("update")?;
    if !container.systemd() {
        let cgroup = engine.cgroup("update")?;
        return cgroup.apply(&options(&resources)).map_err(engine.cgroup_error("update"));
    }
    let now = engine.own_cgroup(&container).map(|dir| std::fs::read_to_string(dir.join("cpu.max")));
    let told = resources::for_systemd(&resources, now.transpose().ok().flatten().as_deref());
    engine.cgroup("update")?.apply(&options(&told)).map_err(engine.cgroup_error("update"))?;
    // With the quota and the period that stay: systemd wrote its own of both.
    if let (Some(cpu), Some(told)) = (resources.cpu_mut(), told.cpu()) {
        cpu.set_quota(told.quota()).set_period(told.period());
    }
    engine.limit_scope("update", &container, &resources)
}

/// Limits, and nothing else, for the library to apply.
fn options(resources: &LinuxResources) -> ControllerOpt<'_> {
    ControllerOpt { resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None }
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
