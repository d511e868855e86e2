//! A new container does not take a cgroup that others use.

use std::io;
use std::path::Path;
use std::time::Instant;

use libcgroups::common::{CgroupConfig, CgroupManager, create_cgroup_manager, get_all_pids};
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use sharedroot_sys::process::{CGROUPS, has_unified_cgroups};

use super::cgroup::{is_frozen, is_gone};
use super::{cgroup_processes, unit};
use crate::spec::error::SpecError;

/// Refuses a cgroup that has processes or is frozen, as runc does since 1.2. An empty cgroup is accepted: a daemon, or
/// a `create` that died, may have made it. Also refuses a unit of systemd whose name another unit has: the library would put
/// the container into that unit.
///
/// # Errors
/// [`SpecError::CgroupInUse`], [`SpecError::CgroupFrozen`], [`SpecError::CgroupUnread`], [`SpecError::UnitInUse`].
pub fn refuse_others(spec: &Spec, id: &str) -> Result<(), SpecError> {
    let Some(path) = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()) else {
        return Ok(());
    };
    let unread = |source| SpecError::CgroupUnread { path: path.clone(), source };
    let is_v2 = has_unified_cgroups();
    let dir = match path.strip_prefix("/") {
        Ok(path) if is_v2 => Some(Path::new(CGROUPS).join(path)),
        // This is the hierarchy in which the library searches for a container's processes.
        Ok(path) => Some(Path::new(CGROUPS).join("devices").join(path)),
        // The engine refuses what is no unit.
        Err(_) if is_v2 => unit::directory(&path).map_err(unread)?,
        Err(_) => None,
    };
    if let (Some(dir), true) = (&dir, is_v2 && path.is_relative())
        && let Some(unit) = unit::await_name(&path, dir).map_err(unread)?
    {
        return Err(SpecError::UnitInUse { path, unit });
    }
    let found = match &dir {
        Some(dir) if is_frozen(dir) == Some(true) => return Err(SpecError::CgroupFrozen { path }),
        Some(dir) if is_v2 => v2(dir, Instant::now() + cgroup_processes::LONGEST),
        Some(dir) => v1(dir),
        None if is_v2 => Ok(None),
        None => unit_v1(&path, id),
    };
    match found {
        Ok(Some(process)) => Err(SpecError::CgroupInUse { path, process }),
        Ok(None) => Ok(()),
        Err(source) => Err(SpecError::CgroupUnread { path, source }),
    }
}

/// A process in a cgroup of version 2 or below it. A cgroup that is gone has none.
fn v2(dir: &Path, end: Instant) -> io::Result<Option<i32>> {
    match cgroup_processes::first_process(dir, end) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(found?),
    }
}

/// A process in a cgroup of version 1 or below it.
fn v1(dir: &Path) -> io::Result<Option<i32>> {
    match get_all_pids(dir) {
        Ok(pids) => Ok(pids.first().map(|pid| pid.as_raw())),
        Err(_) if !dir.exists() => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// A process in the cgroup of version 1 that the library takes for the unit's.
fn unit_v1(path: &Path, id: &str) -> io::Result<Option<i32>> {
    let config = CgroupConfig {
        cgroup_path: path.to_owned(),
        systemd_cgroup: true,
        container_name: id.to_owned(),
    };
    let unit = create_cgroup_manager(config).map_err(io::Error::other)?;
    match unit.get_all_pids() {
        Ok(pids) => Ok(pids.first().map(|pid| pid.as_raw())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories of an ordinary file system are read like cgroups.
    #[test]
    fn a_time_out_is_no_empty_cgroup() {
        let place = std::env::temp_dir().join(format!("sharedroot-in-use-{}", std::process::id()));
        std::fs::create_dir_all(place.join("below")).unwrap();
        let later = Instant::now() + cgroup_processes::LONGEST;
        assert_eq!(v2(&place, later).unwrap(), None);
        let error = v2(&place, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        std::fs::write(place.join("below/cgroup.procs"), "7\n").unwrap();
        assert_eq!(v2(&place, later).unwrap(), Some(7));
        std::fs::remove_dir_all(&place).unwrap();
        assert_eq!(v2(&place, later).unwrap(), None);
    }
}
