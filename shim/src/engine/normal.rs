//! Makes a configuration say what runc would do with it, in words that the embedded engine
//! understands, and refuses by field what it would silently leave out.

use oci_spec::runtime::{Capabilities, Linux, LinuxCapabilities, Mount, Process, Spec};

use crate::label::{self, LabelError, MountLabel, ProcessLabel};

/// A part of config.json that this engine cannot honour.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The engine does not do it, and leaving it out would be unsafe or wrong.
    #[error("{field}: {value} is not supported by the embedded engine; {remedy}")]
    Unsupported {
        /// The field's path in config.json.
        field: String,
        /// What is given there.
        value: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A label that is malformed or that nothing would enforce.
    #[error(transparent)]
    Label(#[from] LabelError),
}

/// The propagations of mount(2), without the leading `r` of the recursive ones.
const PROPAGATIONS: [&str; 4] = ["private", "slave", "shared", "unbindable"];

/// File systems whose label is the policy's, as runc leaves it.
const LABELLED_BY_POLICY: [&str; 6] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2", "bind"];

/// The labels that a configuration asks for, checked against this host.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// `process.selinuxLabel`
    pub process: Option<ProcessLabel>,
    /// `linux.mountLabel`
    pub mount: Option<MountLabel>,
}

impl Labels {
    /// Reads both labels. An empty one stands for none, as with runc.
    ///
    /// # Errors
    /// [`LabelError`], also where SELinux is off: a label that nothing enforces is no label.
    pub fn of(spec: &Spec) -> Result<Self, LabelError> {
        let process = spec.process().as_ref().and_then(|p| p.selinux_label().as_deref());
        let mount = spec.linux().as_ref().and_then(|l| l.mount_label().as_deref());
        let (process, mount) = (process.filter(|l| !l.is_empty()), mount.filter(|l| !l.is_empty()));
        let on = label::enabled();
        for (field, label) in [("process.selinuxLabel", process), ("linux.mountLabel", mount)] {
            if let Some(label) = label.filter(|_| !on) {
                return Err(LabelError::Disabled { field, label: label.to_owned() });
            }
        }
        Ok(Self {
            process: process.map(ProcessLabel::parse).transpose()?,
            mount: mount.map(MountLabel::parse).transpose()?,
        })
    }
}

/// Rewrites `spec` for the embedded engine.
///
/// `bundle` is where relative sources of bind mounts start; `id` names the cgroup where the
/// configuration does not.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn normalise(
    spec: &mut Spec,
    bundle: &std::path::Path,
    id: &str,
    systemd_cgroup: bool,
) -> Result<Labels, SpecError> {
    let labels = Labels::of(spec)?;
    if let Some(process) = spec.process_mut() {
        refuse_no_user(process)?;
        normalise_process(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        normalise_mount(mount, bundle, labels.mount.as_ref());
    }
    let propagation = propagation(spec)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_rootfs_propagation(Some(propagation.to_owned()));
        if systemd_cgroup {
            refuse_no_unit(linux)?;
        }
        if linux.cgroups_path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
            let path = if systemd_cgroup { format!(":sharedroot:{id}") } else { format!("/{id}") };
            linux.set_cgroups_path(Some(path.into()));
        }
        // The engine would put it on every mount, also where the kernel has one superblock for
        // all (mqueue, cgroup) and refuses a second context.
        linux.set_mount_label(None);
    }
    Ok(labels)
}

/// systemd's driver makes a unit of the path; the library would take a directory's path for the unit's name.
fn refuse_no_unit(linux: &Linux) -> Result<(), SpecError> {
    let path = linux.cgroups_path().as_ref().map(|path| path.display().to_string());
    match path.filter(|path| !path.is_empty() && path.split(':').count() != 3) {
        Some(path) => Err(SpecError::Unsupported {
            field: "linux.cgroupsPath".to_owned(),
            value: format!("{path:?}"),
            remedy: "with systemd's cgroup driver it is SLICE:PREFIX:NAME",
        }),
        None => Ok(()),
    }
}

/// The propagation of all mounts of the container: the engine knows one for the root and leaves
/// out that of bind mounts, so theirs must be the same.
///
/// runc's default for a bind mount is private: what the host mounts below it later stays away.
fn propagation(spec: &Spec) -> Result<&'static str, SpecError> {
    let linux = spec.linux().as_ref();
    let root = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let of = |mount: &Mount| {
        let options = mount.options().as_deref().unwrap_or_default();
        let bind = options.iter().any(|o| o == "bind" || o == "rbind");
        let asked =
            options.iter().rev().find(|o| PROPAGATIONS.contains(&o.trim_start_matches('r')));
        bind.then(|| asked.map_or("private", |o| o.trim_start_matches('r')).to_owned())
    };
    let slave = root.is_some_and(|root| root.trim_start_matches('r') == "slave")
        || mounts.iter().filter_map(of).any(|propagation| propagation == "slave");
    for (at, mount) in mounts.iter().enumerate() {
        let asked = of(mount);
        // A file has nothing below it, so its propagation is nothing.
        let directory = mount.source().as_ref().is_some_and(|source| source.is_dir());
        let fits = match asked.as_deref() {
            None | Some("slave") => true,
            Some("private") => !slave || !directory,
            _ => false,
        };
        if let (false, Some(asked)) = (fits, asked) {
            return Err(SpecError::Unsupported {
                field: format!("mounts[{at}].options ({})", mount.destination().display()),
                value: format!("{asked:?}"),
                remedy: "give all volumes of the container the same propagation, rprivate or \
                         rslave, or use another runtime for it",
            });
        }
    }
    match root.map(|root| root.trim_start_matches('r')) {
        None | Some("" | "private" | "slave") => Ok(if slave { "slave" } else { "private" }),
        Some("shared") => Ok("shared"),
        Some("unbindable") => Ok("unbindable"),
        Some(other) => Err(SpecError::Unsupported {
            field: "linux.rootfsPropagation".to_owned(),
            value: format!("{other:?}"),
            remedy: "give private, slave, shared or unbindable, with or without a leading r",
        }),
    }
}

/// Refuses the user and group IDs that stand for "no change" in setresuid(2), setresgid(2): the process would stay
/// root.
///
/// # Errors
/// [`SpecError::Unsupported`] naming the field.
pub fn refuse_no_user(process: &Process) -> Result<(), SpecError> {
    let user = process.user();
    let more = user.additional_gids().as_deref().unwrap_or_default();
    let ids = [("uid", user.uid()), ("gid", user.gid())].into_iter();
    let all = ids.chain(more.iter().map(|gid| ("additionalGids", *gid)));
    all.into_iter().find(|(_, id)| *id == u32::MAX).map_or(Ok(()), |(field, id)| {
        Err(SpecError::Unsupported {
            field: format!("process.user.{field}"),
            value: id.to_string(),
            remedy: "the kernel has no such user or group; give a smaller number",
        })
    })
}

/// `HOME` of a process whose configuration gives none. No configuration can say it: a NUL ends a string.
pub const UNKNOWN_HOME: &str = "HOME=\0";

/// What a runtime takes for granted about a process.
pub fn normalise_process(process: &mut Process) {
    // The engine would ask getpwuid(3), in the container; the workload looks for itself.
    let mut env = process.env().clone().unwrap_or_default();
    env.retain(|variable| variable != "HOME=");
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(UNKNOWN_HOME.to_owned());
    }
    process.set_env(Some(env));
    // The engine takes "given" for "true" when it orders seccomp and capabilities.
    if process.no_new_privileges() == Some(false) {
        process.set_no_new_privileges(None);
    }
    // runc gives a process without capabilities none; the engine would leave it all of root's.
    let mut caps = process.capabilities().clone().unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        none.set_bounding(None).set_effective(None).set_permitted(None);
        none.set_inheritable(None).set_ambient(None);
        none
    });
    let empty = |set: &Option<Capabilities>| Some(set.clone().unwrap_or_default());
    caps.set_bounding(empty(caps.bounding()));
    caps.set_effective(empty(caps.effective()));
    caps.set_permitted(empty(caps.permitted()));
    caps.set_inheritable(empty(caps.inheritable()));
    caps.set_ambient(empty(caps.ambient()));
    process.set_capabilities(Some(caps));
}

fn normalise_mount(mount: &mut Mount, bundle: &std::path::Path, label: Option<&MountLabel>) {
    let mut options = mount.options().clone().unwrap_or_default();
    let bind = options.iter().any(|o| o == "bind" || o == "rbind");
    if let Some(source) = mount.source().as_ref().filter(|s| bind && s.is_relative()) {
        let absolute = bundle.join(source);
        mount.set_source(Some(absolute));
    }
    let own = mount.typ().as_deref().is_some_and(|t| !LABELLED_BY_POLICY.contains(&t));
    if let Some(label) = label.filter(|_| own && !bind) {
        options.push(format!("context={}", label.as_context()));
        mount.set_options(Some(options));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

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

    /// What becomes of a container with this root propagation and these bind mounts.
    fn propagated(root: &str, mounts: &[(&str, &str)]) -> Result<String, String> {
        let mounts: Vec<_> = mounts
            .iter()
            .map(|(source, option)| {
                serde_json::json!({"destination": "/d", "source": source,
                                   "options": ["rbind", option]})
            })
            .collect();
        let value = serde_json::json!({"ociVersion": "1.2.0", "mounts": mounts,
                                       "linux": {"rootfsPropagation": root}});
        let mut spec: Spec = serde_json::from_value(value).unwrap();
        normalise(&mut spec, Path::new("/b"), "c", false).map_err(|e| e.to_string())?;
        Ok(spec.linux().as_ref().unwrap().rootfs_propagation().clone().unwrap())
    }

    #[test]
    fn propagation_is_the_same_for_all_or_refused() {
        assert_eq!(propagated("", &[]).unwrap(), "private");
        assert_eq!(propagated("", &[("/tmp", "rprivate")]).unwrap(), "private");
        assert_eq!(propagated("rslave", &[("/tmp", "rslave")]).unwrap(), "slave");
        assert_eq!(propagated("", &[("/tmp", "slave"), ("/etc/passwd", "ro")]).unwrap(), "slave");
        let mixed = propagated("rslave", &[("/tmp", "rslave"), ("/", "rprivate")]).unwrap_err();
        assert!(mixed.starts_with("mounts[1].options (/d): \"private\""), "{mixed}");
        let shared = propagated("", &[("/tmp", "rshared")]).unwrap_err();
        assert!(shared.starts_with("mounts[0].options (/d): \"shared\""), "{shared}");
        assert!(propagated("sideways", &[]).unwrap_err().contains("rootfsPropagation"));
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
