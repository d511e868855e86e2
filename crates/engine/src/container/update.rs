//! New limits of an existing container, and the limits of a new one that systemd does not set.

use std::path::PathBuf;

use libcgroups::common::{CgroupManager, ControllerOpt};
use libcgroups::v2::manager::Manager;
use libcontainer::container::{Container, ContainerStatus};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources, Spec};
use sharedroot_format::json;
use sharedroot_sys::process::CGROUPS;

use crate::spec::bundle::read_config;
use crate::spec::error::SpecError;
use crate::spec::resources;
use crate::spec::validate::forbidden;
use crate::{Embedded, EngineError};

/// New limits of a container.
#[derive(Debug)]
pub struct Limits(LinuxResources);

impl Limits {
    /// Reads the limits from the JSON text of `update --resources`.
    ///
    /// # Errors
    /// [`EngineError::Resources`], [`EngineError::Forbidden`].
    pub fn parse(path: PathBuf, text: &[u8]) -> Result<Self, EngineError> {
        let resources: LinuxResources =
            json::parse(text).map_err(|source| EngineError::Resources { path, source })?;
        forbidden::look_for_nul(text, "", &resources)?;
        Self::of(resources)
    }

    /// Takes limits in OCI's form.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`].
    pub fn of(resources: LinuxResources) -> Result<Self, EngineError> {
        forbidden::look_at_resources(&resources)?;
        Ok(Self(resources))
    }
}

/// Applies new limits to a running container. The other limits stay.
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
    // The library replaces the device program on each change; a program without rules would allow no device.
    if resources.devices().as_ref().is_none_or(Vec::is_empty) {
        resources.set_devices(engine.device_rules("update")?);
    }
    let container = engine.load("update")?;
    engine.require("update", &container, |container| {
        container.status() != ContainerStatus::Stopped
    })?;
    if !container.systemd() {
        let cgroup = engine.cgroup("update")?;
        return cgroup.apply(&options(&resources)).map_err(engine.cgroup_error("update"));
    }
    let now = engine.own_cgroup(&container).map(|dir| std::fs::read_to_string(dir.join("cpu.max")));
    let told = resources::for_systemd(&resources, now.transpose().ok().flatten().as_deref());
    engine.cgroup("update")?.apply(&options(&told)).map_err(engine.cgroup_error("update"))?;
    // The quota and the period that the container keeps are written again, because systemd wrote its own values of
    // both.
    if let (Some(cpu), Some(told)) = (resources.cpu_mut(), told.cpu()) {
        cpu.set_quota(told.quota()).set_period(told.period());
    }
    engine.limit_scope("update", &container, &resources)
}

impl Embedded {
    /// Applies the limits and the device rules of `resources` to the container's cgroup v2 if systemd made that cgroup.
    /// systemd rounds some limits and does not know others, so runc also writes them after systemd. The library does
    /// not.
    fn limit_scope(
        &self,
        verb: &'static str,
        container: &Container,
        resources: &LinuxResources,
    ) -> Result<(), EngineError> {
        let Some(dir) = self.own_cgroup(container) else { return Ok(()) };
        let path = dir.strip_prefix(CGROUPS).unwrap_or(&dir).to_owned();
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Cgroup {
            verb,
            id: self.id().clone(),
            source,
        };
        let scope = Manager::new(CGROUPS.into(), path).map_err(|e| fail(e.into()))?;
        scope.apply(&options(resources)).map_err(|e| fail(e.into()))
    }

    /// Applies the limits of `spec` to the cgroup of a container that is being created.
    pub(crate) fn limit_new_scope(
        &self,
        container: &Container,
        spec: &Spec,
    ) -> Result<(), EngineError> {
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        resources.map_or(Ok(()), |resources| self.limit_scope("create", container, resources))
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
}

/// The library's options for these limits, with nothing else set.
fn options(resources: &LinuxResources) -> ControllerOpt<'_> {
    ControllerOpt { resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None }
}
