//! A new container does not take a cgroup that others use.

use std::path::{Path, PathBuf};
use std::time::Instant;

use libcgroups::common::{CgroupConfig, CgroupManager, create_cgroup_manager, get_all_pids};
use oci_spec::runtime::Spec;

use super::cgroup::TOP;
use super::cgroup_end;
use crate::spec::error::SpecError;

/// Refuses a cgroup that has processes or is frozen, as runc does since 1.2. An empty cgroup is accepted: a daemon, or
/// a `create` that died, may have made it.
///
/// # Errors
/// [`SpecError::CgroupInUse`], [`SpecError::CgroupFrozen`].
pub fn refuse_others(spec: &Spec, id: &str) -> Result<(), SpecError> {
    let Some(path) = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()) else {
        return Ok(());
    };
    let dir = match path.strip_prefix("/") {
        Ok(path) if Path::new(TOP).join("cgroup.controllers").exists() => Path::new(TOP).join(path),
        // This is the hierarchy in which the library searches for a container's processes.
        Ok(path) => Path::new(TOP).join("devices").join(path),
        Err(_) => return refuse_unit(path, id),
    };
    if !dir.exists() {
        return Ok(());
    }
    if std::fs::read(dir.join("cgroup.freeze")).is_ok_and(|on| on.trim_ascii() == b"1") {
        return Err(SpecError::CgroupFrozen { path });
    }
    // If the list cannot be read, the engine cannot use the cgroup either, and the engine reports that.
    let v1 = || get_all_pids(&dir).ok()?.first().map(|pid| pid.as_raw());
    let found = match Path::new(TOP).join("cgroup.controllers").exists() {
        true => {
            cgroup_end::first_process(&dir, Instant::now() + cgroup_end::LONGEST).ok().flatten()
        }
        false => v1(),
    };
    match found {
        Some(process) => Err(SpecError::CgroupInUse { path, process }),
        None => Ok(()),
    }
}

/// Refuses a unit of systemd that has processes.
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
