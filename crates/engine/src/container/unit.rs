//! The unit that systemd makes for a container whose `linux.cgroupsPath` is SLICE:PREFIX:NAME: its name, and its cgroup.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcontainer::container::Container;
use sharedroot_sys::process::{CGROUPS, cgroup, has_unified_cgroups};

use super::members::inode;
use super::stats;
use crate::Embedded;

/// The file beside the configuration with the path of the cgroup that systemd made for the container.
const CGROUP: &str = "init-cgroup";

/// The slice of a path that names none.
const DEFAULT_SLICE: &str = "system.slice";
/// Where systemd has the file of each unit that a program made, for as long as systemd knows the unit (systemd.unit(5), "Unit File
/// Load Path").
const TRANSIENT: &str = "/run/systemd/transient";
/// How long systemd may take to remove a unit whose cgroup is gone. It does that when it has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// The name of the unit for the path, formed as runc and crun form it.
pub(super) fn name(path: &str) -> Option<String> {
    let (rest, name) = path.rsplit_once(':')?;
    let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
    Some(if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") })
}

/// The directory of the unit's cgroup of version 2, whether there is such a cgroup or not. `None` if the path names no unit that
/// systemd makes.
///
/// # Errors
/// The operating system's: the cgroup in which systemd itself is cannot be read.
pub(super) fn directory(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(below) = path.to_str().and_then(below_root) else { return Ok(None) };
    // systemd moves itself into this scope below its root.
    let own = cgroup(1)?.unwrap_or_default();
    let root = if own.ends_with("init.scope") { own.parent().unwrap_or(&own) } else { &own };
    Ok(Some(Path::new(CGROUPS).join(root).join(below)))
}

/// The path of the unit's cgroup below systemd's root. The slice `a-b.slice` is in `a.slice` (systemd.slice(5)).
fn below_root(path: &str) -> Option<PathBuf> {
    let (rest, _) = path.rsplit_once(':')?;
    let slice = rest.rsplit_once(':').map_or("", |(slice, _)| slice);
    let stem = if slice.is_empty() { DEFAULT_SLICE } else { slice }.strip_suffix(".slice")?;
    let mut dir = PathBuf::new();
    // This is the name of the root.
    if stem != "-" {
        if stem.split('-').any(str::is_empty) {
            return None;
        }
        for (end, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
            dir.push(format!("{}.slice", &stem[..end]));
        }
    }
    let parts = dir.components().count() + 1;
    dir.push(name(path)?);
    let plain = dir.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && dir.components().count() == parts).then_some(dir)
}

/// The directory of the unit's cgroup, if process `pid` is in the cgroup or below it: the container can move its processes
/// deeper.
///
/// # Errors
/// Those of [`directory`].
pub(super) fn of_process(path: &Path, pid: i32) -> io::Result<Option<PathBuf>> {
    let Some(cgroup) = stats::unified(pid) else { return Ok(None) };
    Ok(directory(path)?.filter(|dir| cgroup.starts_with(dir)))
}

/// Waits until systemd has no unit of the path's name that is without a cgroup in `dir`, the place that the path names. The name
/// of a unit is unique on the host, so such a unit is in another slice, or has failed, or systemd is about to remove it. Returns
/// the name of a unit that stays.
///
/// # Errors
/// The operating system's.
pub(super) fn await_name(path: &Path, dir: &Path) -> io::Result<Option<String>> {
    let Some(name) = path.to_str().and_then(name) else { return Ok(None) };
    let (file, end) = (Path::new(TRANSIENT).join(&name), Instant::now() + PATIENCE);
    while !dir.try_exists()? && file.try_exists()? {
        if Instant::now() >= end {
            return Ok(Some(name));
        }
        sleep(PAUSE);
    }
    Ok(None)
}

impl Embedded {
    /// Records the path of the unit's cgroup, before the container's program runs.
    ///
    /// # Errors
    /// The operating system's; the init process is in no cgroup of the unit that the configuration names.
    pub(crate) fn record_cgroup(&self, container: &Container) -> io::Result<()> {
        if !has_unified_cgroups() {
            // On cgroup v1 there is no path to record.
            return Ok(());
        }
        let path = container.spec().map_err(io::Error::other)?.cgroup_path;
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        let Some(dir) = of_process(&path, pid)? else {
            let what = match stats::unified(pid) {
                Some(other) => format!("systemd has put its process into {}", other.display()),
                None => "its process has ended".to_owned(),
            };
            let path = path.display();
            return Err(io::Error::other(format!("{what}; linux.cgroupsPath is {path}")));
        };
        std::fs::write(self.bundle().join(CGROUP), dir.as_os_str().as_bytes())
    }

    /// Whether the library's `delete` would stop a unit of systemd that is not the container's: the library names the unit only by
    /// its name, which another unit may have once the container's own is gone.
    pub(crate) fn has_lost_its_unit(&self, container: &Container) -> bool {
        let named = || directory(&container.spec().ok()?.cgroup_path).ok()?;
        let dir = self.recorded_cgroup().or_else(named);
        // Another container may have a unit of the same path by now, and so a new cgroup.
        let known = self.recorded().ok().flatten().and_then(|record| record.cgroup);
        let is_lost = |dir: &Path| match dir.try_exists() {
            Ok(true) => known.is_some_and(|known| inode(dir).is_some_and(|now| now != known)),
            exists => matches!(exists, Ok(false)),
        };
        container.systemd() && dir.as_deref().is_some_and(is_lost)
    }

    /// The path that [`Self::record_cgroup`] has recorded.
    pub(super) fn recorded_cgroup(&self) -> Option<PathBuf> {
        let path = std::fs::read(self.bundle().join(CGROUP)).ok()?;
        Some(OsString::from_vec(path).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_as_engines_name_it() {
        for (path, wanted, place) in [
            ("system.slice:docker:0ab", "docker-0ab.scope", "system.slice/docker-0ab.scope"),
            (":sharedroot:c", "sharedroot-c.scope", "system.slice/sharedroot-c.scope"),
            ("machine.slice:libpod:x.slice", "x.slice", "machine.slice/x.slice"),
            ("-.slice:lab:c", "lab-c.scope", "lab-c.scope"),
            ("a-b-c.slice:p:n", "p-n.scope", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
        ] {
            assert_eq!(name(path).as_deref(), Some(wanted), "{path}");
            assert_eq!(below_root(path).as_deref(), Some(Path::new(place)), "{path}");
        }
        assert_eq!(name("/a/b"), None);
        for wrong in
            ["/a/b", "a:p:n", "a--b.slice:p:n", ".slice:p:n", "../x.slice:p:n", "a.slice:p:../n"]
        {
            assert_eq!(below_root(wrong), None, "{wrong}");
        }
    }
}
