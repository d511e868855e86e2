//! The container's cgroup: its processes, its figures, its limits.

use std::path::PathBuf;

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, ControllerOpt, create_cgroup_manager,
};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use serde_json::{Value, json};

use super::{Engine, EngineError, stats};
use crate::cli::Update;

impl Engine {
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

    fn cgroup_error(
        &self,
        verb: &'static str,
    ) -> impl FnOnce(libcgroups::common::AnyManagerError) -> EngineError {
        let id = self.id().clone();
        move |source| EngineError::Cgroup { verb, id, source: source.into() }
    }
}

/// The process IDs of a container, as this process's namespace counts them.
///
/// # Errors
/// [`EngineError`].
pub fn processes(engine: &Engine) -> Result<Vec<i32>, EngineError> {
    let pids = engine.cgroup("ps")?.get_all_pids().map_err(engine.cgroup_error("ps"))?;
    Ok(pids.into_iter().map(|pid| pid.as_raw()).collect())
}

/// One event of `events` in runc's form.
///
/// # Errors
/// [`EngineError`].
pub fn event(engine: &Engine) -> Result<Value, EngineError> {
    let pid = engine.load("events")?.pid().map(|pid| pid.as_raw());
    let data = match pid.and_then(stats::unified) {
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
    /// [`EngineError::Resources`].
    pub fn parse(path: PathBuf, text: &[u8]) -> Result<Self, EngineError> {
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|source| EngineError::Resources { path, source })
    }

    /// From the flags of `update`.
    #[must_use]
    pub fn from_flags(flags: &Update) -> Self {
        let mut memory = LinuxMemory::default();
        memory.set_limit(flags.memory).set_reservation(flags.memory_reservation);
        memory.set_swap(flags.memory_swap);
        let mut cpu = LinuxCpu::default();
        cpu.set_shares(flags.cpu_shares).set_quota(flags.cpu_quota).set_period(flags.cpu_period);
        cpu.set_cpus(flags.cpuset_cpus.clone()).set_mems(flags.cpuset_mems.clone());
        let mut resources = LinuxResources::default();
        // A default rule would be applied as well: none is given here.
        resources.set_devices(None).set_memory(Some(memory)).set_cpu(Some(cpu));
        if let Some(limit) = flags.pids_limit {
            let mut pids = LinuxPids::default();
            pids.set_limit(limit);
            resources.set_pids(Some(pids));
        }
        if let Some(weight) = flags.blkio_weight {
            let mut block = LinuxBlockIo::default();
            block.set_weight(Some(weight));
            resources.set_block_io(Some(block));
        }
        Self(resources)
    }
}

/// Applies new limits to a running container.
///
/// # Errors
/// [`EngineError`].
pub fn update(engine: &Engine, limits: &Limits) -> Result<(), EngineError> {
    let options = ControllerOpt {
        resources: &limits.0,
        disable_oom_killer: false,
        oom_score_adj: None,
        freezer_state: None,
    };
    engine.cgroup("update")?.apply(&options).map_err(engine.cgroup_error("update"))
}
