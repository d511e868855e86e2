//! A new container does not take a cgroup that others use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use libcgroups::common::{CgroupConfig, CgroupManager, create_cgroup_manager, get_all_pids};
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use sharedroot_sys::process::CGROUPS;

use super::cgroup_end;
use crate::spec::error::SpecError;

/// Refuses a cgroup that has processes or is frozen, as runc does since 1.2. An empty cgroup is accepted: a daemon, or
/// a `create` that died, may have made it.
///
/// # Errors
/// [`SpecError::CgroupInUse`], [`SpecError::CgroupFrozen`], [`SpecError::CgroupUnread`].
pub fn refuse_others(spec: &Spec, id: &str) -> Result<(), SpecError> {
    let Some(path) = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()) else {
        return Ok(());
    };
    let dir = match path.strip_prefix("/") {
        Ok(path) if Path::new(CGROUPS).join("cgroup.controllers").exists() => {
            Path::new(CGROUPS).join(path)
        }
        // This is the hierarchy in which the library searches for a container's processes.
        Ok(path) => Path::new(CGROUPS).join("devices").join(path),
        Err(_) => return refuse_unit(path, id),
    };
    if !dir.exists() {
        return Ok(());
    }
    if std::fs::read(dir.join("cgroup.freeze")).is_ok_and(|on| on.trim_ascii() == b"1") {
        return Err(SpecError::CgroupFrozen { path });
    }
    let v1 = || match get_all_pids(&dir) {
        Ok(pids) => Ok(pids.first().map(|pid| pid.as_raw())),
        Err(_) if !dir.exists() => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    };
    let found = match Path::new(CGROUPS).join("cgroup.controllers").exists() {
        true => v2(&dir, Instant::now() + cgroup_end::LONGEST),
        false => v1(),
    };
    match found {
        Ok(Some(process)) => Err(SpecError::CgroupInUse { path, process }),
        Ok(None) => Ok(()),
        Err(source) => Err(SpecError::CgroupUnread { path, source }),
    }
}

/// A process in a cgroup of version 2 or below it. A cgroup that is gone has none.
fn v2(dir: &Path, end: Instant) -> io::Result<Option<i32>> {
    match cgroup_end::first_process(dir, end) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(found?),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories of an ordinary file system are read like cgroups.
    #[test]
    fn a_time_out_is_no_empty_cgroup() {
        let place = std::env::temp_dir().join(format!("sharedroot-in-use-{}", std::process::id()));
        std::fs::create_dir_all(place.join("below")).unwrap();
        let later = Instant::now() + cgroup_end::LONGEST;
        assert_eq!(v2(&place, later).unwrap(), None);
        let error = v2(&place, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        std::fs::write(place.join("below/cgroup.procs"), "7\n").unwrap();
        assert_eq!(v2(&place, later).unwrap(), Some(7));
        std::fs::remove_dir_all(&place).unwrap();
        assert_eq!(v2(&place, later).unwrap(), None);
    }
}
