//! Rewrites a configuration so that the embedded engine does what runc would do, and refuses by field what the engine
//! would leave out silently.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use sharedroot_label::MountLabel;

use super::error::SpecError;
use super::labels::Labels;
use super::process::{keep_locked_memory, normalise_process, refuse_no_apparmor, refuse_no_user};
use super::resources;
use crate::mounts::propagation;
use crate::spec::validate::unsupported;

/// File systems that have the policy's label, as with runc.
const LABELLED_BY_POLICY: [&str; 6] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2", "bind"];

/// Rewrites `spec` for the embedded engine.
///
/// `bundle` is the directory in which relative sources of bind mounts begin. `id` names the cgroup if the configuration
/// does not.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn normalise(
    spec: &mut Spec,
    bundle: &Path,
    id: &str,
    systemd_cgroup: bool,
) -> Result<Labels, SpecError> {
    let labels = Labels::of(spec)?;
    unsupported::check(spec)?;
    if let Some(process) = spec.process_mut() {
        refuse_no_user(process)?;
        refuse_no_apparmor(process)?;
        normalise_process(process);
        keep_locked_memory(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        normalise_mount(mount, bundle, labels.mount.as_ref());
    }
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(resources::of_container(linux.resources().clone())?);
        let given = linux.cgroups_path().as_deref().filter(|path| !path.as_os_str().is_empty());
        let path = match given {
            Some(path) if systemd_cgroup => {
                refuse_no_unit(path)?;
                path.to_owned()
            }
            Some(path) => below_the_top(path)?,
            None if systemd_cgroup => format!(":sharedroot:{id}").into(),
            None => format!("/{id}").into(),
        };
        linux.set_cgroups_path(Some(path));
        // The engine would put the label on every mount, also on those with one superblock for all (mqueue, cgroup),
        // for which the kernel refuses a second context.
        linux.set_mount_label(None);
    }
    Ok(labels)
}

/// systemd's driver makes a unit from the path. The library would use a directory's path as the unit's name.
fn refuse_no_unit(path: &Path) -> Result<(), SpecError> {
    if path.to_string_lossy().split(':').count() == 3 {
        return Ok(());
    }
    Err(SpecError::Unsupported {
        field: "linux.cgroupsPath".to_owned(),
        value: format!("{path:?}"),
        remedy: "give SLICE:PREFIX:NAME, because systemd's cgroup driver is on",
    })
}

/// The path of a cgroup without `..`: the engine would follow `..` to any directory of the host. As with runc, the path
/// begins at the top. The top itself belongs to the host.
fn below_the_top(path: &Path) -> Result<PathBuf, SpecError> {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    if plain.parent().is_none() {
        return Err(SpecError::Unsupported {
            field: "linux.cgroupsPath".to_owned(),
            value: format!("{path:?}"),
            remedy: "name a cgroup below the top, which belongs to the host, or leave it out",
        });
    }
    Ok(plain)
}

fn normalise_mount(mount: &mut Mount, bundle: &Path, label: Option<&MountLabel>) {
    let bind = propagation::bind(mount);
    if let Some(source) = mount.source().as_ref().filter(|s| bind.is_some() && s.is_relative()) {
        let absolute = bundle.join(source);
        mount.set_source(Some(absolute));
    }
    let mut options = mount.options().clone().unwrap_or_default();
    // These options change nothing, and the engine would pass them to the file system. podman gives an empty one.
    options.retain(|option| !matches!(&**option, "" | "silent" | "loud"));
    for option in &mut options {
        // The engine knows these two options only in the recursive form; here there are no mounts below.
        if matches!(&**option, "nosymfollow" | "symfollow") {
            option.insert(0, 'r');
        }
    }
    let own = mount.typ().as_deref().is_some_and(|t| !LABELLED_BY_POLICY.contains(&t));
    if let Some(label) = label.filter(|_| own && bind.is_none()) {
        options.push(format!("context={}", label.as_context()));
    }
    mount.set_options((!options.is_empty()).then_some(options));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_process_without_capabilities_gets_none() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},
                "noNewPrivileges":false}}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.no_new_privileges(), None);
        let caps = process.capabilities().as_ref().unwrap();
        for set in [caps.bounding(), caps.effective(), caps.permitted(), caps.ambient()] {
            assert_eq!(set.as_ref().map(std::collections::HashSet::len), Some(0));
        }
    }

    #[test]
    fn no_profile_is_no_question_of_apparmor() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},
                "apparmorProfile":""}}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        assert_eq!(spec.process().as_ref().unwrap().apparmor_profile(), &None);
    }

    #[test]
    fn devices_are_denied_whatever_is_left_out() {
        for linux in [r#"{"resources":{}}"#, r#"{"resources":{"devices":[]}}"#] {
            let mut spec = spec(&format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#));
            normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
            let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
            let rules = resources.devices().as_ref().unwrap();
            assert_eq!((rules.len(), rules[0].allow()), (1, false), "{linux}");
            let once = spec.clone();
            normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
            assert_eq!(spec, once, "{linux}");
        }
    }

    #[test]
    fn a_cgroup_is_below_the_top() {
        for (given, path) in [
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("/../../../bad", "/bad"),
            ("../x/./y", "/x/y"),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(below_the_top(Path::new(given)).unwrap(), Path::new(path), "{given}");
        }
        for top in ["/", "/..", "..", "/a/..", "."] {
            let error = below_the_top(Path::new(top)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath"), "{error}");
        }
    }

    #[test]
    fn relative_sources_start_at_the_bundle() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","mounts":[
                {"destination":"/d","source":"data","options":["bind"]}]}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        let mounts = spec.mounts().as_ref().unwrap();
        assert_eq!(mounts[0].source().as_deref(), Some(Path::new("/b/data")));
    }
}
