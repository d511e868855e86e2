//! The unit that systemd makes for a container whose `linux.cgroupsPath` is SLICE:PREFIX:NAME: its name, and its cgroup.

use std::io;
use std::path::{Component, Path, PathBuf};

use sharedroot_sys::process::{CGROUPS, cgroup};

use super::stats;

/// The slice of a path that names none.
const DEFAULT_SLICE: &str = "system.slice";

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

/// The uppermost cgroup of the unit's name above process `pid`. A cgroup of that name that the container makes lies
/// below it.
pub(super) fn cgroup_above(unit: &str, pid: i32) -> Option<PathBuf> {
    let of_init = stats::unified(pid)?;
    let named =
        of_init.ancestors().filter(|dir| dir.file_name().is_some_and(|name| *name == *unit));
    named.last().map(Path::to_owned)
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
